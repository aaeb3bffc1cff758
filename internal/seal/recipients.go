package seal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/agessh"
)

// Recipients are the public keys that archives are encrypted to: each alone opens them. The zero value is none, for no encryption.
type Recipients struct {
	keys  []age.Recipient
	texts []string // as they were written, without comments
}

// maxRecipients keeps the header of the largest keys there are within headSize.
const maxRecipients = 32

// UnmarshalText reads public keys with commas or ends of lines in between: "age1...", "ssh-ed25519 AAAA..." and "ssh-rsa AAAA...". A line
// that begins with # is a comment, as in the files of age. Its errors call a key by its place in the list.
func (r *Recipients) UnmarshalText(text []byte) error {
	var read Recipients
	var errs []error
	for i, entry := range entries(string(text)) {
		key, err := parseRecipient(entry)
		if err != nil {
			errs = append(errs, fmt.Errorf("key %d of the list: %w", i+1, err))
			continue
		}
		read.keys = append(read.keys, key)
		words := strings.Fields(entry)
		read.texts = append(read.texts, strings.Join(words[:min(len(words), 2)], " ")) // an SSH key has a comment after it
	}
	if len(errs) == 0 {
		errs = append(errs, read.check())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	*r = read
	return nil
}

func entries(text string) (entries []string) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for entry := range strings.SplitSeq(line, ",") {
			if entry = strings.TrimSpace(entry); entry != "" {
				entries = append(entries, entry)
			}
		}
	}
	return entries
}

const howToWrite = "write age1..., as age-keygen prints it, or the line of an SSH key's .pub file"

// parseRecipient repeats nothing of what it cannot read: somebody may have taken the private key for the public one.
func parseRecipient(s string) (key age.Recipient, err error) {
	switch {
	case strings.HasPrefix(s, "age1pq1"):
		key, err = age.ParseHybridRecipient(s)
	case strings.HasPrefix(s, "age1") && strings.Count(s, "1") > 1:
		return nil, errors.New("it is of a plugin of age, and backupd runs none: " + howToWrite)
	case strings.HasPrefix(s, "age1"):
		key, err = age.ParseX25519Recipient(s)
	case strings.HasPrefix(s, "ssh-"):
		key, err = agessh.ParseRecipient(s)
	case secret(s):
		return nil, errors.New("it is a private key: write the public one that goes with it (age-keygen -y prints it), and keep this one elsewhere")
	default:
		return nil, errors.New("it is no public key: " + howToWrite)
	}
	if err != nil {
		return nil, errors.New("it is cut off or mistyped, or of a kind that age does not take (SSH keys are ssh-ed25519, or ssh-rsa of 2048 bits and more): " + howToWrite)
	}
	return key, nil
}

// secret tells whether a text is, or holds, a private key.
func secret(s string) bool {
	s = strings.ToUpper(s)
	return strings.Contains(s, "AGE-SECRET-KEY") || strings.Contains(s, "PRIVATE KEY") || strings.Contains(s, "AGE-PLUGIN-")
}

// check finds what is wrong with keys together, by using them.
func (r Recipients) check() error {
	switch {
	case len(r.keys) == 0:
		return errors.New("there is no key in it: " + howToWrite)
	case len(r.keys) > maxRecipients:
		return fmt.Errorf("there are %d keys in it, and at most %d are possible", len(r.keys), maxRecipients)
	}
	if _, err := age.Encrypt(io.Discard, r.keys...); err != nil {
		return fmt.Errorf("these keys cannot be used together: %w", err)
	}
	return nil
}

// None tells that nothing is encrypted.
func (r Recipients) None() bool { return len(r.keys) == 0 }

// Fingerprint tells sets of public keys apart, in whichever order they were written; "" is that of none.
func (r Recipients) Fingerprint() string {
	if r.None() {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(slices.Sorted(slices.Values(r.texts))), "\n")))
	return hex.EncodeToString(sum[:16])
}

// Opens proves, in memory, that one of the keys opens what is encrypted to the recipients. The error is ErrLocked where none does.
func (r Recipients) Opens(keys *Keys) error {
	const text = "what is encrypted to these comes back"
	var sealed bytes.Buffer
	w, err := r.Writer(&sealed)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, text)
	if err := errors.Join(err, w.Close()); err != nil {
		return err
	}
	plain, err := Stream(&sealed, keys)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(plain)
	if err == nil && string(got) != text {
		err = damaged("other bytes came back")
	}
	return err
}
