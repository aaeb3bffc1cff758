package seal

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"filippo.io/age"
	"filippo.io/age/agessh"
	"filippo.io/age/armor"
	"golang.org/x/crypto/ssh"
)

// Ask asks somebody for the passphrase of a file. Its error is why nobody can be asked.
type Ask func(file string) ([]byte, error)

// Keys are private keys in a file, which is read when one is needed: a host that only makes backups has none. Nil is no file.
type Keys struct {
	path string
	read func() ([]age.Identity, error)
}

// KeysIn gives the keys in a file: lines as age-keygen writes them, SSH keys, or a file of such lines that is itself encrypted with a
// passphrase. The path may be empty, for none.
func KeysIn(path string, ask Ask) *Keys {
	if path == "" {
		return nil
	}
	k := &Keys{path: path}
	k.read = sync.OnceValues(func() ([]age.Identity, error) { return readKeys(path, ask) })
	return k
}

// identities gives the keys; without any it is ErrLocked.
func (k *Keys) identities() ([]age.Identity, error) {
	if k == nil {
		return nil, fmt.Errorf("%w, and no key is set: set %s to the path of a file with the private key of one of its recipients", ErrLocked, Setting)
	}
	keys, err := k.read()
	if err != nil {
		return nil, fmt.Errorf("%w, and the key is not to be had: %s: %w", ErrLocked, Setting, err)
	}
	return keys, nil
}

// unlock finds out the key of one file of age, of which this is the header.
func (k *Keys) unlock(header []byte) (age.Identity, error) {
	keys, err := k.identities()
	if err != nil {
		return nil, err
	}
	fileKey, err := age.DecryptHeader(header, keys...)
	if none, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return nil, fmt.Errorf("%w to other keys than those in %s (%s has %d, and its recipients are: %s)", ErrLocked, Setting, k.path, len(keys),
			strings.Join(none.StanzaTypes, ", "))
	}
	if asking, ok := errors.AsType[*askError](err); ok {
		return nil, fmt.Errorf("%w, and the key is not to be had: %s: %w", ErrLocked, Setting, asking)
	}
	if err != nil {
		return nil, damaged("%w", err)
	}
	return age.NewInjectedFileKeyIdentity(fileKey), nil
}

// maxKeys bounds a file of keys, in bytes.
const maxKeys = 1 << 20

func readKeys(path string, ask Ask) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read from
	text, err := io.ReadAll(io.LimitReader(f, maxKeys+1))
	if err == nil && len(text) > maxKeys {
		err = errors.New("it is too long for a file of keys")
	}
	var keys []age.Identity
	if err == nil {
		keys, err = parseKeys(text, path, ask)
	}
	if err != nil {
		return nil, fmt.Errorf("read keys from %s: %w", path, err)
	}
	return keys, nil
}

const (
	intro = "age-encryption.org/"
	armed = armor.Header
)

func parseKeys(text []byte, path string, ask Ask) ([]age.Identity, error) {
	switch {
	case bytes.HasPrefix(text, []byte(intro)):
		return protected(bytes.NewReader(text), path, ask)
	case bytes.HasPrefix(bytes.TrimSpace(text), []byte(armed)):
		return protected(armor.NewReader(bytes.NewReader(text)), path, ask)
	}
	var keys []age.Identity
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		key, err := sshKey(pem.EncodeToMemory(block), path, ask)
		if err != nil {
			return nil, err
		}
		keys, text = append(keys, key), rest
	}
	lines, err := ageKeys(text)
	if err == nil && len(lines)+len(keys) == 0 {
		err = errors.New("there is no key in it: it is to be a file as age-keygen writes it, or an SSH key's private file")
	}
	return append(keys, lines...), err
}

// ageKeys reads what age-keygen writes. Its errors repeat nothing of a line.
func ageKeys(text []byte) (keys []age.Identity, err error) {
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, err := age.ParseIdentities(strings.NewReader(line))
		if err != nil {
			return nil, fmt.Errorf("line %d is no private key of age: it is to begin with AGE-SECRET-KEY-1, and be whole", n)
		}
		keys = append(keys, key...)
	}
	return keys, nil
}

// sshKey reads a key that may have a passphrase, for which nobody is asked unless that key is wanted.
func sshKey(block []byte, path string, ask Ask) (age.Identity, error) {
	key, err := agessh.ParseIdentity(block)
	locked := (*ssh.PassphraseMissingError)(nil)
	if errors.As(err, &locked) && locked.PublicKey != nil {
		key, err = agessh.NewEncryptedSSHIdentity(locked.PublicKey, block, func() ([]byte, error) { return ask(path) })
		return asked{key}, err
	}
	if err != nil {
		return nil, errors.New("an SSH key in it cannot be used: it is damaged, or of another kind than ssh-ed25519 and ssh-rsa")
	}
	return key, nil
}

// protected reads a file of keys that is encrypted with a passphrase.
func protected(from io.Reader, path string, ask Ask) ([]age.Identity, error) {
	phrase, err := ask(path)
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(string(phrase))
	if err != nil {
		return nil, errors.New("an empty passphrase opens nothing")
	}
	plain, err := age.Decrypt(from, id)
	if err != nil {
		return nil, errors.New("the passphrase does not open it, or it is encrypted in another way")
	}
	text, err := io.ReadAll(io.LimitReader(plain, maxKeys))
	if err != nil {
		return nil, err
	}
	return ageKeys(text)
}

// asked marks why a key that has a passphrase could not be used: that is no damage of what it was to open.
type asked struct{ age.Identity }

type askError struct{ error }

func (a asked) Unwrap(stanzas []*age.Stanza) ([]byte, error) {
	key, err := a.Identity.Unwrap(stanzas)
	if err != nil && !errors.Is(err, age.ErrIncorrectIdentity) {
		err = &askError{err}
	}
	return key, err
}
