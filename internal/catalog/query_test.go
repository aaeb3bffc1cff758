package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/backupd/backupd/internal/catalog"
	"github.com/backupd/backupd/internal/faulttest"
	"github.com/backupd/backupd/internal/snapshot"
	"github.com/backupd/backupd/internal/targets/memory"
)

// commit makes a snapshot of any host exist.
func commit(t *testing.T, s *memory.Store, host, volume string, day int) snapshot.Manifest {
	t.Helper()
	m := manifest(volume, day)
	m.Host = host
	put(t, s, m.Ref().Key(snapshot.ArchiveKind), string(m.ID))
	if err := catalog.New(s, nil, host).Commit(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return m
}

// names gives what was listed as host/volume/day.
func names(l catalog.Listing) (names []string) {
	for _, s := range l.Snapshots {
		names = append(names, s.Host+"/"+s.Volume+"/"+s.Taken.Format("02"))
	}
	return names
}

func TestQueries(t *testing.T) {
	s := memory.New()
	commit(t, s, "web2", "app", 1)
	commit(t, s, host, "app", 2)
	commit(t, s, host, "app", 1)
	commit(t, s, host, "db", 1)
	commit(t, s, "web11", "app", 1) // the host's name begins it
	c := catalog.New(s, catalog.NewCache(t.TempDir()), host)
	for name, q := range map[string]struct {
		query catalog.Query
		want  []string
	}{
		"all of this host":      {catalog.Query{}, []string{"web1/app/02", "web1/app/03", "web1/db/02"}},
		"of another":            {catalog.Query{Host: "web2"}, []string{"web2/app/02"}},
		"of nobody":             {catalog.Query{Host: "web"}, nil},
		"of every host":         {catalog.Query{EveryHost: true}, []string{"web1/app/02", "web1/app/03", "web1/db/02", "web11/app/02", "web2/app/02"}},
		"a volume everywhere":   {catalog.Query{EveryHost: true, Volumes: []string{"db"}}, []string{"web1/db/02"}},
		"two volumes":           {catalog.Query{Volumes: []string{"db", "app", "db"}}, []string{"web1/app/02", "web1/app/03", "web1/db/02"}},
		"by the id":             {catalog.Query{ID: string(manifest("app", 2).ID)}, []string{"web1/app/03"}},
		"by its beginning":      {catalog.Query{EveryHost: true, ID: "20261102"}, []string{"web1/app/02", "web1/db/02", "web11/app/02", "web2/app/02"}},
		"by what no id is like": {catalog.Query{ID: "../"}, nil},
	} {
		l, err := c.List(t.Context(), q.query)
		if err != nil || l.Err() != nil || !slices.Equal(names(l), q.want) {
			t.Errorf("%s: listed %q, want %q (%v, %v)", name, names(l), q.want, err, l.Err())
		}
	}
}

func TestHostsAreThoseThatHaveSnapshots(t *testing.T) {
	s := memory.New()
	red := "red\x1b[31m"
	for _, of := range []string{"web2", red, host} {
		commit(t, s, of, "app", 1)
	}
	commit(t, s, host, "db", 1)
	id := string(manifest("app", 1).ID)
	for _, key := range []string{"loose/app/" + id + ".tar.zst", "web3/.doctor", "deep/er/app/" + id + ".json", "%2e%2e/app/" + id + ".json", "up/app/latest.json"} {
		put(t, s, key, "foreign")
	}
	hosts, err := catalog.New(s, nil, "new").Hosts(t.Context())
	if want := []string{red, host, "web2"}; err != nil || !slices.Equal(hosts, want) {
		t.Errorf("%q, %v, want %q", hosts, err, want)
	}
	s.Faults = &faulttest.Injector{At: 1, Kind: faulttest.Kinds[0]}
	if hosts, err := catalog.New(s, nil, "new").Hosts(t.Context()); err == nil {
		t.Errorf("%q of a store that cannot be listed", hosts)
	}
}

// Whoever gets hold of another host's snapshot can do nothing to it.
func TestNothingChangesWhatIsOfAnotherHost(t *testing.T) {
	s := memory.New()
	m := commit(t, s, "web2", "app", 1)
	next := manifest("app", 2)
	next.Host = "web2"
	next.Archives = m.Archives
	before := keys(t, s)
	c, ctx := catalog.New(s, nil, host), t.Context()
	_, drafted := c.DraftArchive(ctx, next.Ref(), snapshot.ArchiveKind)
	for what, err := range map[string]error{
		"put": c.PutArchive(ctx, next.Ref(), snapshot.ArchiveKind, strings.NewReader("mine")), "draft": drafted, "commit": c.Commit(ctx, next),
		"discard": c.Discard(ctx, m.Ref()), "remove": c.Remove(ctx, m.Ref()), "pin": c.Pin(ctx, m.Ref()), "unpin": c.Unpin(ctx, m.Ref()),
	} {
		if err == nil || !strings.Contains(err.Error(), `of host "web2"`) {
			t.Errorf("%s: %v, want that it is of web2", what, err)
		}
	}
	if after := keys(t, s); !slices.Equal(after, before) {
		t.Errorf("left are %q of %q", after, before)
	}
}

// A snapshot that is named is looked for among all, and takes one manifest to be read; what the cache has of others stays there.
func TestOneOutOfMany(t *testing.T) {
	r := newRemote(t)
	gets := func(q catalog.Query) int {
		t.Helper()
		r.Faults = &faulttest.Injector{}
		if l, err := r.Catalog.List(t.Context(), q); err != nil || l.Err() != nil || len(l.Snapshots) != 1 {
			t.Fatalf("listed %v: %v, %v", ids(l), err, l.Err())
		}
		return strings.Count(strings.Join(r.Faults.Calls(), "\n"), "get")
	}
	first, second := catalog.Query{ID: string(manifest("app", 1).ID), Volumes: []string{"app"}}, catalog.Query{ID: string(manifest("app", 2).ID)}
	if a, b := gets(first), gets(second); a != 1 || b != 1 {
		t.Errorf("%d and %d manifests were read, want 1 and 1", a, b)
	}
	if a, b := gets(first), gets(second); a != 0 || b != 0 {
		t.Errorf("%d and %d manifests were read again", a, b)
	}
	if n := r.fetched(t, 4); n != 2 {
		t.Errorf("all the others took %d manifests, want 2", n)
	}
	gets(first)
	if n := r.fetched(t, 4); n != 0 {
		t.Errorf("looking for one made the cache forget %d others", n)
	}
}

// Who has seen enough leaves nothing running, and nobody takes for all what was listed until the context ended.
func TestListingIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New()
		for day := range 20 {
			commit(t, s, host, fmt.Sprintf("volume-%d", day), day)
		}
		c := catalog.New(s, nil, host)
		for range c.Each(t.Context(), catalog.Query{}) {
			break
		}
		for seen := range 20 {
			ctx, cancel := context.WithCancel(t.Context())
			var failed error
			n := 0
			for l, err := range c.Each(ctx, catalog.Query{}) {
				if n += len(l.Snapshots); n > seen {
					cancel()
				}
				failed = err
			}
			if n != seen+1 || !errors.Is(failed, context.Canceled) {
				t.Errorf("listed %d, and then %v", n, failed)
			}
			cancel()
		}
	})
}

// Whatever lies in a store, each host lists what is its own, and a manifest counts only where it says that it belongs.
func TestHostileKeys(t *testing.T) {
	s := memory.New()
	m := commit(t, s, host, "app", 1)
	data, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	red, endless := "red\x1b[31m\n", strings.Repeat("\x00", 1000)
	commit(t, s, red, endless, 1)
	file := "/" + string(m.ID) + ".json"
	for _, key := range []string{
		"evil/app" + file, host + "/other" + file, snapshot.Escape(endless) + "/app" + file, // names that a host or volume could have
		host + "/%61pp" + file, host + "/%zz" + file, host + "/a b" + file, host + "/%2e%2e" + file, // none that one could have
		host + "/deep/er" + file, host + file, "manifest" + file[1:], host + "/app/" + string(m.ID) + ".json.json", host + "/app/20269999T999999Z-00000001.json",
	} {
		put(t, s, key, string(data))
	}
	for name, q := range map[string]struct {
		query      catalog.Query
		want       []string
		unreadable int
	}{
		"this host":         {catalog.Query{}, []string{"web1/app/02"}, 1},
		"every host":        {catalog.Query{EveryHost: true}, []string{red + "/" + endless + "/02", "web1/app/02"}, 3},
		"one that lies":     {catalog.Query{Host: "evil"}, nil, 1},
		"one that leads up": {catalog.Query{Host: "..", Volumes: []string{"..", "/"}}, nil, 0},
		"one with a slash":  {catalog.Query{Host: host + "/app"}, nil, 0},
	} {
		l, err := catalog.New(s, catalog.NewCache(t.TempDir()), host).List(t.Context(), q.query)
		if err != nil || !slices.Equal(names(l), q.want) || len(l.Unreadable) != q.unreadable || len(l.Loose) > 0 {
			t.Errorf("%s: listed %q, want %q; %d of %d cannot be read: %v, %v", name, names(l), q.want, len(l.Unreadable), q.unreadable, err, l.Err())
		}
	}
}

func TestFindTellsWhatItCouldBe(t *testing.T) {
	at := func(host, volume string, day int) catalog.Snapshot {
		m := manifest(volume, day)
		m.Host = host
		return catalog.Snapshot{Manifest: m}
	}
	const one, two = "20261102T030000Z-00000001", "20261103T030000Z-00000002"
	for _, c := range []struct {
		among []catalog.Snapshot
		want  string
	}{
		{[]catalog.Snapshot{at("a", "x", 1), at("a", "y", 2)}, one + ` of volume "x" or ` + two + ` of volume "y": give more of the id`},
		{[]catalog.Snapshot{at("a", "x", 1), at("b", "x", 2)}, one + ` of volume "x" on host "a" or ` + two + ` of volume "x" on host "b": give more of the id`},
		{[]catalog.Snapshot{at("a", "x", 1), at("b", "x", 1)}, `on host "a" or ` + one + ` of volume "x" on host "b": name the host`},
		{[]catalog.Snapshot{at("a", "x", 1), at("a", "y", 1)}, `they have one id, and only "restore VOLUME@ID" tells them apart`},
	} {
		if _, err := catalog.Find(c.among, "2026"); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
