package plan

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backupd/backupd/internal/engine"
)

func TestParseOverrides(t *testing.T) {
	tests := map[string]struct {
		text string
		want Overrides
	}{
		"nothing":  {"", Overrides{}},
		"comments": {"# one\n\n  ; another\n", Overrides{}},
		"two volumes": {
			"# all of it\n[app_data]\nbackupd.enable = true\nbackupd.schedule=CRON_TZ=Europe/Berlin H 3 * * *\n\n[db]\nbackupd.enable=false\n",
			Overrides{"app_data": {keyEnable: "true", keySchedule: "CRON_TZ=Europe/Berlin H 3 * * *"}, "db": {keyEnable: "false"}},
		},
		"a section without labels":         {"[app]", Overrides{"app": {}}},
		"names that are hard to write":     {"[ my app ]\n[a%0Ab%25]\n[x]y]\n", Overrides{"my app": {}, "a\nb%": {}, "x]y": {}}},
		"a file from another system":       {"\ufeff[app]\r\nbackupd.group = shop\r\n", Overrides{"app": {keyGroup: "shop"}}},
		"a value that begins like comment": {"[app]\nbackupd.exclude = #x\n", Overrides{"app": {keyExclude: "#x"}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOverrides([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error("(-want +got):\n" + diff)
			}
		})
	}
}

func TestParseOverridesRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"a label before any volume":   {"\nbackupd.enable = true", `line 2: "backupd.enable = true": it comes before the first [name of a volume]`},
		"a section that is not ended": {"[app\nbackupd.enable = true", `line 1: "[app": write the name of a volume as [name]`},
		"a section without a name":    {"[ ]", `line 1: "[ ]": write the name of a volume as [name]`},
		"a percent sign":              {"[50%]", `line 1: "[50%]": write %25 for a percent sign, and %XX for a byte that is hard to write`},
		"a volume twice":              {"[app]\n[a%70p]", `line 2: there is another section for volume "app"`},
		"a label twice":               {"[app]\nbackupd.group=a\nbackupd.group=b", `line 3: backupd.group is set twice for one volume`},
		"a label without a value":     {"[app]\nbackupd.group =", `line 2: "backupd.group =": write key = value`},
		"no label":                    {"[app]\nhello", `line 2: "hello": write key = value`},
		"a misspelt label":            {"[app]\nbackupd.shedule=@daily", `line 2: "backupd.shedule" is no label for a volume: did you mean backupd.schedule?`},
		"a hook": {"[app]\nbackupd.hook.pre=x", `line 2: "backupd.hook.pre" is no label for a volume: there are backupd.enable, backupd.schedule, backupd.retention, ` +
			`backupd.quiesce, backupd.quiesce.limit, backupd.targets, backupd.exclude, backupd.group, backupd.drill, ` +
			`backupd.drill.exec, backupd.drill.env-file`},
		"two lines": {"a=\n[app]\nb=", "line 1: \"a=\": it comes before the first [name of a volume]\nline 3: \"b=\": write key = value"},
		"too much":  {strings.Repeat("\n", maxOverrides+1), "it has 1048577 bytes, and at most 1048576 are possible"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := ParseOverrides([]byte(tt.text))
			if err == nil || err.Error() != tt.want {
				t.Errorf("error is\n%v\nwant\n%s", err, tt.want)
			}
		})
	}
}

func TestAFileOfSomethingElseGivesFewErrors(t *testing.T) {
	_, err := ParseOverrides([]byte(strings.Repeat("\x7fELF\n", 10000)))
	if err == nil || strings.Count(err.Error(), "\n") != 9 {
		t.Errorf("error is %v, want ten lines", err)
	}
}

func TestOverridesForNoVolumeAreFound(t *testing.T) {
	o := Overrides{"db": nil, "app": nil, "cache": nil}
	if diff := cmp.Diff([]string{"cache", "db"}, o.Unused([]engine.Volume{{Name: "app"}, {Name: "other"}})); diff != "" {
		t.Error("(-want +got):\n" + diff)
	}
}

func FuzzParseOverrides(f *testing.F) {
	f.Add("[app]\nbackupd.enable = true\n# x\n[my%20app]\nbackupd.group=a=b")
	f.Fuzz(func(t *testing.T, text string) {
		read, err := ParseOverrides([]byte(text))
		if err != nil {
			if read != nil || !printable(strings.ReplaceAll(err.Error(), "\n", " ")) {
				t.Errorf("error %q, with %v", err, read)
			}
			return
		}
		for name, given := range read {
			if name == "" {
				t.Error("a volume without a name")
			}
			for key, value := range given {
				if !ours(key) || value == "" || value != strings.TrimSpace(value) {
					t.Errorf("%q has label %q = %q", name, key, value)
				}
			}
		}
	})
}
