package sftp

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// signers gives the keys to log in with. done ends the use of the agent.
func (l location) signers() (keys []ssh.Signer, done func(), err error) {
	done = func() {}
	if l.identity != "" {
		key, err := readKey(l.identity)
		return []ssh.Signer{key}, done, err
	}
	var unusable error
	if socket := os.Getenv("SSH_AUTH_SOCK"); socket != "" {
		if keys, done, err = ofAgent(socket); err != nil {
			unusable = fmt.Errorf("ask the agent at SSH_AUTH_SOCK for its keys: %w", err)
		}
	}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		switch key, err := readKey(inHome(name)); {
		case err == nil:
			keys = append(keys, key)
		case !errors.Is(err, fs.ErrNotExist):
			unusable = errors.Join(unusable, err)
		}
	}
	if len(keys) == 0 {
		done()
		return nil, done, errors.Join(errors.New("there is no key to log in with: name one by identity=/path in the target's URL, put it "+
			"where ssh looks for it (~/.ssh/id_ed25519), or run an agent"), unusable)
	}
	return keys, done, nil
}

func ofAgent(socket string) (keys []ssh.Signer, done func(), err error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, func() {}, err
	}
	keys, err = agent.NewClient(conn).Signers()
	return keys, func() { _ = conn.Close() }, err // nothing is lost with it
}

func readKey(name string) (ssh.Signer, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read the key to log in with: %w", err)
	}
	key, err := ssh.ParsePrivateKey(text)
	if errors.As(err, new(*ssh.PassphraseMissingError)) {
		return nil, fmt.Errorf("the key %s has a passphrase: use one without, for backups alone, or give it to an agent", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the key %s: it is not a private key of SSH", name) // not err, which may repeat of it
	}
	return key, nil
}
