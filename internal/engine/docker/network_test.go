package docker_test

import (
	"context"
	"slices"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"

	"github.com/backupd/backupd/internal/engine"
	"github.com/backupd/backupd/internal/engine/docker"
	"github.com/backupd/backupd/internal/testenv"
)

// What decides whether the engine is reached through a container shows as engines really tell it.
func TestNetworksOfAContainer(t *testing.T) {
	d := testenv.NewDocker(t)
	c, err := docker.Open(t.Context(), docker.Options{Host: d.Host})
	must(t, err)
	t.Cleanup(func() { _ = c.Close() }) // idle connections only
	_, err = d.API.NetworkCreate(t.Context(), d.Name("shop"), network.CreateOptions{})
	must(t, err)
	t.Cleanup(func() { must(t, d.API.NetworkRemove(context.WithoutCancel(t.Context()), d.Name("shop"))) })

	const port = "23750"
	asked := testenv.Container{Name: "proxy"}
	asked.Image = d.ShellImage()
	asked.ExposedPorts = nat.PortSet{"2375/tcp": {}, "53/udp": {}}
	asked.HostConfig.PortBindings = nat.PortMap{"2375/tcp": {{HostIP: "127.0.0.1", HostPort: port}}, "53/udp": {{HostIP: "127.0.0.1", HostPort: "23753"}}}
	asked.HostConfig.NetworkMode = "bridge"
	id := d.Create(asked)
	must(t, d.API.NetworkConnect(t.Context(), d.Name("shop"), id, &network.EndpointSettings{Aliases: []string{"docker-api"}}))
	must(t, c.Start(t.Context(), id))

	proxy, err := c.Container(t.Context(), id)
	must(t, err)
	i := slices.IndexFunc(proxy.Networks, func(n engine.Network) bool { return n.Name == d.Name("shop") })
	if i < 0 || len(proxy.Networks) != 2 || proxy.NetworkOf != "" || !slices.Equal(proxy.Published, []string{port}) {
		t.Fatalf("it is %+v", proxy)
	}
	raw, err := d.API.ContainerInspect(t.Context(), id)
	must(t, err)
	shop := proxy.Networks[i]
	address := raw.NetworkSettings.Networks[d.Name("shop")].IPAddress
	if !slices.Contains(shop.Names, "docker-api") || address == "" || !slices.Contains(shop.Names, address) || !proxy.In(shop.ID) || proxy.In("") {
		t.Errorf("in the network it is %+v", shop)
	}

	sidecar := testenv.Container{Name: "sidecar", HostConfig: container.HostConfig{NetworkMode: container.NetworkMode("container:" + d.Name("proxy"))}}
	sidecar.Image = d.ShellImage()
	beside, err := c.Container(t.Context(), d.Run(sidecar))
	must(t, err)
	if beside.NetworkOf != proxy.ID && beside.NetworkOf != proxy.Name || len(beside.Networks) > 0 {
		t.Errorf("in its network is %+v", beside)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
