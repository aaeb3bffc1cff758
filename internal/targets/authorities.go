package targets

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Authorities are those whom this machine trusts, and those of a file.
func Authorities(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in %s (it has to be PEM)", file)
	}
	return roots, nil
}
