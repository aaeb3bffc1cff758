package docker

import (
	"context"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"github.com/backupd/backupd/internal/engine"
)

// RunSibling runs a program in a container that is like another one, which runs: of the same image, with the same mounts, rights and networks.
// The engine starts it again whenever it ends, until it is removed, so what it has begun it can finish. Its stdin ends with the
// connection.
func (c *Client) RunSibling(ctx context.Context, s engine.Sibling) (engine.Stream, error) {
	bound, cancel := bounded(ctx, answerLimit)
	defer cancel()
	stream, err := c.runSibling(bound, s)
	if err != nil {
		return nil, fmt.Errorf("run container %s beside %s: %w", s.Name, s.Of, c.sorted(bound, err))
	}
	return stream, nil
}

func (c *Client) runSibling(ctx context.Context, s engine.Sibling) (*helperStream, error) {
	if err := segment(s.Of); err != nil {
		return nil, err
	}
	model, err := c.api.ContainerInspect(ctx, s.Of)
	if err != nil {
		return nil, err
	}
	if _, err := inspected(model); err != nil {
		return nil, err
	}
	config, host := siblingConfig(s, model)
	networks := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{}}
	var others []string // before version 1.44 of the API only one network can be named from the beginning
	for name := range userNetworks(model) {
		if len(networks.EndpointsConfig) > 0 {
			others = append(others, name)
			continue
		}
		host.NetworkMode = container.NetworkMode(name)
		networks.EndpointsConfig[name] = &network.EndpointSettings{}
	}
	made, err := c.api.ContainerCreate(ctx, config, host, networks, nil, s.Name)
	if err != nil {
		return nil, err
	}
	stream, err := c.join(ctx, made.ID, others)
	if err != nil {
		// It has not run, so nothing is lost with it.
		_ = c.api.ContainerRemove(context.WithoutCancel(ctx), made.ID, container.RemoveOptions{Force: true})
		return nil, err
	}
	return stream, nil
}

// join puts a container on further networks, and starts it.
func (c *Client) join(ctx context.Context, id string, networks []string) (*helperStream, error) {
	for _, name := range networks {
		if err := c.api.NetworkConnect(ctx, name, id, nil); err != nil {
			return nil, err
		}
	}
	return c.startAttached(ctx, id)
}

// siblingConfig copies what the program needs to reach the engine and its files as the model does, and nothing by which others recognise
// the model: no labels of compose, no ports, no health check.
func siblingConfig(s engine.Sibling, model container.InspectResponse) (*container.Config, *container.HostConfig) {
	config := &container.Config{
		Image: model.Image, User: model.Config.User, Labels: s.Labels, Env: s.Env,
		Entrypoint: s.Command[:1], Cmd: s.Command[1:], Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true, StdinOnce: true,
	}
	like := model.HostConfig
	return config, &container.HostConfig{
		VolumesFrom:    []string{model.ID},
		NetworkMode:    like.NetworkMode,
		LogConfig:      container.LogConfig{Type: "none"},
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyAlways},
		UsernsMode:     like.UsernsMode,
		ReadonlyRootfs: like.ReadonlyRootfs,
		Privileged:     like.Privileged,
		CapAdd:         like.CapAdd,
		CapDrop:        like.CapDrop,
		GroupAdd:       like.GroupAdd,
		SecurityOpt:    like.SecurityOpt,
		ExtraHosts:     like.ExtraHosts,
	}
}

// userNetworks are the networks that the model is on, unless it has none of its own.
func userNetworks(model container.InspectResponse) map[string]*network.EndpointSettings {
	mode := model.HostConfig.NetworkMode
	if model.NetworkSettings == nil || mode.IsNone() || mode.IsHost() || mode.IsContainer() {
		return nil
	}
	return model.NetworkSettings.Networks
}
