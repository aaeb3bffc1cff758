package webdav

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// entry is what the server tells of a file or folder.
type entry struct {
	name     string // in the folder that was asked for; "" for what was asked for itself
	folder   bool
	size     int64 // bytes; -1 for unknown
	modified time.Time
}

// stat is fs.ErrNotExist for whatever is not a file.
func (s *Store) stat(ctx context.Context, key string) (entry, error) {
	found, err := s.propfind(ctx, key, "0")
	switch {
	case err != nil:
		return entry{}, err
	case len(found) != 1 || found[0].name != "":
		return entry{}, errors.New("the server tells of something else than it was asked for")
	case found[0].folder:
		return entry{}, fs.ErrNotExist
	case found[0].size < 0:
		return entry{}, errors.New("the server does not tell its size")
	}
	return found[0], nil
}

const question = `<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>`

// propfind asks for what is at a key, which ends with "/" or is empty for a folder, and with depth "1" for what is in it.
func (s *Store) propfind(ctx context.Context, key, depth string) (found []entry, err error) {
	to := s.at.url(key)
	err = s.retry(ctx, func() error {
		// An answer that never ends is not waited for either: a listing is bounded.
		ctx, cancel := context.WithTimeoutCause(ctx, s.times.answer, fmt.Errorf("the server has not answered within %s", s.times.answer))
		defer cancel()
		resp, err := s.do(ctx, "PROPFIND", to, map[string]string{"Depth": depth, "Content-Type": "application/xml"}, strings.NewReader(question))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusMultiStatus {
			return fmt.Errorf("there is no WebDAV: the server answers %d to a question for properties", resp.StatusCode)
		}
		found, err = decode(&bounded{r: resp.Body, left: mostBytes}, to)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	})
	return found, err
}

// mostBytes is how long the listing of one folder may be: some 100,000 files.
const mostBytes = 64 << 20

// bounded is an error where io.LimitedReader is a quiet end.
type bounded struct {
	r    io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", mostBytes)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// response is one of a multistatus.
type response struct {
	Href      string `xml:"DAV: href"`
	Status    string `xml:"DAV: status"`
	Propstats []struct {
		Status string `xml:"DAV: status"`
		Prop   struct {
			Type struct {
				Collection *struct{} `xml:"DAV: collection"`
			} `xml:"DAV: resourcetype"`
			Length   string `xml:"DAV: getcontentlength"`
			Modified string `xml:"DAV: getlastmodified"`
		} `xml:"DAV: prop"`
	} `xml:"DAV: propstat"`
}

// decode reads a multistatus, which has to come to its end.
func decode(r io.Reader, asked *url.URL) (found []entry, err error) {
	d := xml.NewDecoder(r)
	ended := false
	for depth := 0; ; {
		token, err := d.Token()
		if err == io.EOF && ended {
			return found, nil
		}
		if err != nil {
			return nil, unreadable(err)
		}
		switch t := token.(type) {
		case xml.EndElement:
			depth--
			ended = depth == 0
		case xml.StartElement:
			if depth == 0 && t.Name != (xml.Name{Space: "DAV:", Local: "multistatus"}) {
				return nil, errors.New("there is no WebDAV: the server answers with something else than properties")
			}
			if t.Name != (xml.Name{Space: "DAV:", Local: "response"}) {
				depth++
				continue
			}
			var one response
			if err := d.DecodeElement(&one, &t); err != nil {
				return nil, unreadable(err)
			}
			e, err := one.entry(asked)
			if err != nil {
				return nil, err
			}
			found = append(found, e)
		}
	}
}

func unreadable(err error) error {
	syntax := (*xml.SyntaxError)(nil)
	if err == io.EOF || errors.As(err, &syntax) && syntax.Msg == "unexpected EOF" {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read what the server tells of it: %w", err)
}

func (r *response) entry(asked *url.URL) (entry, error) {
	name, err := nameOf(r.Href, asked)
	if err != nil {
		return entry{}, err
	}
	e := entry{name: name, size: -1}
	if strings.Contains(r.Status, " 404") {
		return e, fs.ErrNotExist
	}
	for _, p := range r.Propstats {
		if !strings.Contains(p.Status, " 200") {
			continue
		}
		e.folder = e.folder || p.Prop.Type.Collection != nil
		if n, err := strconv.ParseInt(strings.TrimSpace(p.Prop.Length), 10, 64); err == nil && n >= 0 {
			e.size = n
		}
		if at, err := http.ParseTime(strings.TrimSpace(p.Prop.Modified)); err == nil {
			e.modified = at
		}
	}
	return e, nil
}

// nameOf is what an address is called in the folder that was asked for, and "" for what was asked for itself. What lies elsewhere is an
// error and not passed over: a listing that lacks something would be believed.
func nameOf(href string, asked *url.URL) (string, error) {
	ref, err := url.Parse(strings.TrimSpace(href))
	if err != nil || ref.Opaque != "" {
		return "", fmt.Errorf("the server tells of %.200q, which is no address", href)
	}
	at := asked.ResolveReference(ref)
	got, want := strings.TrimSuffix(at.Path, "/"), strings.TrimSuffix(asked.Path, "/")
	if at.Host == asked.Host && got == want {
		return "", nil
	}
	name, inside := strings.CutPrefix(got, want+"/")
	if at.Host != asked.Host || !inside || strings.Contains(name, "/") {
		return "", fmt.Errorf("the server tells of %.200q, which is not in what it was asked for", href)
	}
	return name, nil
}
