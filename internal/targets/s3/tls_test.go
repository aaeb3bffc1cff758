package s3

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets/s3/s3test"
	"github.com/backupd/backupd/internal/targets/targetstest"
)

// TestServerWithACertificateOfItsOwn has one that is signed by nobody whom the machine trusts.
func TestServerWithACertificateOfItsOwn(t *testing.T) {
	server := s3test.Start(t)
	_, f := through(t, server)
	private := httptest.NewTLSServer(f)
	t.Cleanup(private.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: private.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	u := *f.url
	query := u.Query()
	query.Set("endpoint", private.URL)
	u.RawQuery = query.Encode()
	if err := openAt(t, &u).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "ca-file=") {
		t.Errorf("check: %v, want it to speak of ca-file=", err)
	}
	query.Set("ca-file", ca)
	u.RawQuery = query.Encode()
	s := openAt(t, &u)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for key, size := range map[string]int{"small": 10, "large": targetstest.Large} {
		if err := s.Put(t.Context(), key, bytes.NewReader(targetstest.Random(size))); err != nil {
			t.Error(err)
		}
		if got, err := targetstest.Read(t, s, key); err != nil || !bytes.Equal(got, targetstest.Random(size)) {
			t.Errorf("get %s: %d bytes, %v", key, len(got), err)
		}
	}
}
