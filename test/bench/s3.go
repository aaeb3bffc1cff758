package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// startS3 starts the S3 server of the tests, if it is there, and gives the peer that stores in it. What the environment needs for that
// is set for all.
func (b *runner) startS3() (p peer, stop func() error, err error) {
	program := os.Getenv("TEST_VERSITYGW")
	none := func() error { return nil }
	if program == "" {
		return peer{name: "backupd, S3 on loopback", needs: []string{"$TEST_VERSITYGW"}}, none, nil
	}
	bucket := filepath.Join(b.work, "s3", "bench")
	if err := os.MkdirAll(bucket, 0o755); err != nil {
		return peer{}, none, err
	}
	address, err := freeAddress()
	if err != nil {
		return peer{}, none, err
	}
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "benchbench", "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		if err := os.Setenv(name, value); err != nil {
			return peer{}, none, err
		}
	}
	server := exec.CommandContext(b.ctx, program, "--access", "bench", "--secret", "benchbench", "--port", address, "--quiet", "posix", filepath.Dir(bucket))
	if err := server.Start(); err != nil {
		return peer{}, none, fmt.Errorf("start the S3 server: %w", err)
	}
	stop = func() error {
		if err := server.Process.Kill(); err != nil {
			return err
		}
		_ = server.Wait() // it was killed
		return nil
	}
	if err := answers(address); err != nil {
		return peer{}, stop, err
	}
	p = backupd("backupd, S3 on loopback", fmt.Sprintf("'s3=s3://bench?endpoint=http://%s&region=us-east-1&path-style=true'", address))
	p.backup = "rm -rf $WORK/s3/bench/*; " + p.backup
	return p, stop, nil
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func answers(address string) (err error) {
	for range 100 {
		var c net.Conn
		if c, err = net.DialTimeout("tcp", address, time.Second); err == nil {
			return c.Close()
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("the S3 server does not answer: %w", err)
}
