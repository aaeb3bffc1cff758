package testenv

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/docker/docker/api/types/container"
)

// Contained is a program, linked statically, in a container of the engine that is behind the socket, as users run backupd: the program,
// the engine's volumes and some more folders have there the paths that they have here.
func (d *Docker) Contained(program, socket string, folders, env []string, args ...string) Container {
	d.t.Helper()
	info, err := d.API.Info(d.t.Context())
	d.must("ask the engine where its volumes are", err)
	binds := []string{socket + ":/var/run/docker.sock"}
	for _, dir := range slices.Concat(folders, []string{filepath.Join(info.DockerRootDir, "volumes")}) {
		binds = append(binds, dir+":"+dir)
	}
	return Container{
		Name:       "backupd",
		Config:     container.Config{Image: d.ProgramImage(program), Cmd: args, Env: env},
		HostConfig: container.HostConfig{Binds: binds},
	}
}

// ProgramImage is an image of one program and nothing else.
func (d *Docker) ProgramImage(program string) string {
	d.t.Helper()
	return d.Image("backupd-test/program-"+strconv.Itoa(os.Getpid()), []string{`ENTRYPOINT ["` + program + `"]`}, func(l *Layer) {
		l.File(program)
	})
}
