package config

import "reflect"

// Variable describes a variable, for help texts and documentation.
type Variable struct {
	Name    string
	Default string // "" is none
	Help    string
}

// Variables gives all that are supported, in the order of the documentation.
func Variables() []Variable {
	var all []Variable
	for f := range reflect.TypeFor[Config]().Fields() {
		if name := f.Tag.Get("envconfig"); name != "" {
			all = append(all, Variable{Name: name, Default: f.Tag.Get("default"), Help: f.Tag.Get("desc")})
		}
	}
	return all
}

// tag gives what the tags of a variable's field say.
func tag(name, key string) string {
	for f := range reflect.TypeFor[Config]().Fields() {
		if f.Tag.Get("envconfig") == name {
			return f.Tag.Get(key)
		}
	}
	return ""
}
