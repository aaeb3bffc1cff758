package webdav

import (
	"bytes"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backupd/backupd/internal/targets/targetstest"
)

// TestServerWithACertificateOfItsOwn has one that is signed by nobody whom the machine trusts.
func TestServerWithACertificateOfItsOwn(t *testing.T) {
	f := newFront(t)
	private := httptest.NewTLSServer(f.handler)
	t.Cleanup(private.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: private.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	u := *f.url
	u.Scheme, u.Host = "webdavs", private.Listener.Addr().String()
	distrustful, err := open(&u, soon)
	if err != nil {
		t.Fatal(err)
	}
	if err := distrustful.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "ca-file=") {
		t.Errorf("check: %v, want it to speak of ca-file=", err)
	}
	u.RawQuery += "&ca-file=" + ca
	s := checked(t, &u)
	want := targetstest.Random(3 << 20)
	if err := s.Put(t.Context(), "a/key", bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	if got, err := targetstest.Read(t, s, "a/key"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}
