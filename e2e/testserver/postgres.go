package testserver

import (
	"context"
	cryptorand "crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq" // the driver of the URLs handed out
)

// Main runs a package's tests and then stops the PostgreSQL server they shared. Without it the server ends a moment
// after the test binary does. Then it calls after, to tidy up what else the tests shared.
//
//	func TestMain(m *testing.M) { testserver.Main(m) }
func Main(m *testing.M, after ...func() error) {
	code := m.Run()
	for _, f := range after {
		if err := f(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if started != nil {
		if err := started.end(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// Postgres returns the URL of a fresh, empty database, which is dropped when the test ends.
//
// It is made on the server that TEST_DATABASE_URL names, as a role that may create databases and connect to the database
// postgres; else on one that all tests of the binary share. The shared one does not survive a power cut (fsync=off), so
// it says nothing about the speed of commits; benchmarks use [PostgresServer].
func Postgres(t testing.TB) (databaseURL string) {
	t.Helper()
	if server := os.Getenv("TEST_DATABASE_URL"); server != "" {
		return createDatabase(t, server, "")
	}
	c, err := shared()
	must(t, err)
	return createDatabase(t, c.URL("postgres"), "")
}

// CloneDatabase returns the URL of a copy of a database, on the same server, which is dropped when the test ends. Nobody
// may be connected to the original meanwhile; connections just closed are waited for.
func CloneDatabase(t testing.TB, databaseURL string) (clone string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	must(t, err)
	return createDatabase(t, databaseURL, strings.TrimPrefix(u.Path, "/"))
}

// Cluster is a PostgreSQL server that a test has for itself.
type Cluster struct {
	dir      string
	port     int
	settings []string

	server *exec.Cmd
	exited chan struct{} // closed when server has ended
	alive  *os.File      // the watchdog's pipe
}

// PostgresServer starts a server that the test may stop and start; it ends with the test. Settings such as "fsync=on"
// are added to, and win over, those that suit most tests.
func PostgresServer(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	c, err := newCluster(settings)
	must(t, err)
	t.Cleanup(func() {
		if err := c.end(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// URL returns the URL of one of the server's databases. It stays the same when the server is started again.
func (c *Cluster) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@127.0.0.1:%d/%s?sslmode=disable", c.port, url.PathEscape(database))
}

// Create makes an empty database and returns its URL. It lives as long as the server.
func (c *Cluster) Create(t testing.TB, database string) (databaseURL string) {
	t.Helper()
	must(t, execute(c.URL("postgres"), "CREATE DATABASE "+quote(database)))
	return c.URL(database)
}

// CreateIn makes an empty database whose files are in a new folder, which the server's user must be able to reach.
func (c *Cluster) CreateIn(t testing.TB, database, folder string) (databaseURL string) {
	t.Helper()
	must(t, os.Mkdir(folder, 0o700))
	owner, err := serverUser()
	must(t, err)
	if owner != nil {
		must(t, os.Chown(folder, int(owner.Uid), int(owner.Gid)))
	}
	must(t, execute(c.URL("postgres"), "CREATE TABLESPACE "+quote(database)+" LOCATION '"+folder+"'"))
	must(t, execute(c.URL("postgres"), "CREATE DATABASE "+quote(database)+" TABLESPACE "+quote(database)))
	return c.URL(database)
}

// Start starts a stopped server, on its data and port, and waits until it answers.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	must(t, c.start())
}

// Stop shuts the server down orderly; connections are cut, their transactions rolled back.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	must(t, c.stop(syscall.SIGINT))
}

// Crash ends the server at once, as if it had been killed: the next Start recovers from the log.
func (c *Cluster) Crash(t testing.TB) {
	t.Helper()
	must(t, c.stop(syscall.SIGQUIT))
}

// errMissing is the error of a server whose Debian package is not installed.
var errMissing = errors.New("PostgreSQL 15 or newer is not installed (Debian package postgresql-15, or postgresql); or set TEST_DATABASE_URL")

// must ends the test on an error; a missing package only skips it, except under CI=true.
func must(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errMissing) && os.Getenv("CI") != "true":
		t.Skip(err)
	default:
		t.Fatalf("testserver: %v", err)
	}
}

var (
	// shared starts the server that Postgres uses, once.
	shared = sync.OnceValues(func() (*Cluster, error) {
		c, err := newCluster(nil)
		started = c
		return c, err
	})
	started *Cluster
)

// defaults suit tests: fast, and safe unless the whole machine stops.
var defaults = []string{
	"fsync=off", "synchronous_commit=off", "full_page_writes=off",
	"shared_buffers=256MB", "max_connections=200", "max_wal_size=4GB",
	"wal_level=minimal", "max_wal_senders=0",
	"listen_addresses=127.0.0.1", "unix_socket_directories=",
}

// newCluster makes a data folder and starts a server on it.
func newCluster(settings []string) (*Cluster, error) {
	initdb, err := program("initdb")
	if err != nil {
		return nil, err
	}
	owner, err := serverUser()
	if err != nil {
		return nil, err
	}
	parent := ""
	if owner != nil {
		parent = "/tmp" // another user may not be let into ours
	}
	dir, err := os.MkdirTemp(parent, "ratebook-postgres-")
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, settings: slices.Concat(defaults, settings)}
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
	}
	// the databases sort as people do, not by bytes, so that what relies on either is found
	cmd := exec.CommandContext(context.Background(), initdb, "--pgdata", c.data(), "--username=postgres", "--auth=trust", "--no-sync",
		"--encoding=UTF8", "--locale=C", "--locale-provider=icu", "--icu-locale=en-US")
	c.prepare(cmd, owner)
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("initdb: %w\n%s", err, out), os.RemoveAll(dir))
	}
	for range 5 {
		if c.port, err = freePort(); err != nil {
			break
		}
		if err = c.start(); err == nil {
			return c, nil
		}
	}
	return nil, errors.Join(err, os.RemoveAll(dir))
}

func (c *Cluster) data() string { return filepath.Join(c.dir, "data") }

// prepare lets cmd run in the cluster's folder, as its owner, untouched by signals to the test's process group.
func (c *Cluster) prepare(cmd *exec.Cmd, owner *syscall.Credential) {
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+c.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Setpgid: true}
}

// run becomes the server, watched over: descriptor 3 is a pipe whose other end only the test binary has, so it ends
// however the binary dies, and without a word unless stop wrote one.
const run = `
dir=$1; shift
{
	if ! read -r word; then
		kill -INT $$
		n=0; while kill -0 $$ && [ $n -lt 100 ]; do sleep 0.1; n=$((n+1)); done
		rm -rf "$dir"
	fi
} <&3 >/dev/null 2>&1 &
exec "$@" 3<&-
`

func (c *Cluster) start() error {
	if c.server != nil {
		return errors.New("PostgreSQL runs already")
	}
	postgres, err := program("postgres")
	if err != nil {
		return err
	}
	owner, err := serverUser()
	if err != nil {
		return err
	}
	args := []string{"-c", run, "sh", c.dir, postgres, "-D", c.data(), "-p", strconv.Itoa(c.port)}
	for _, s := range c.settings {
		args = append(args, "-c", s)
	}
	cmd := exec.CommandContext(context.Background(), "/bin/sh", args...)
	c.prepare(cmd, owner)
	messages, err := os.Create(filepath.Join(c.dir, "log"))
	if err != nil {
		return err
	}
	defer messages.Close()
	watched, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer watched.Close()
	// files, not writers: nothing of the test's own output may be held open by a server that outlives it
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = messages, messages, []*os.File{watched}
	if err := cmd.Start(); err != nil {
		return errors.Join(err, alive.Close())
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait() // the log says why
		close(exited)
	}()
	c.server, c.exited, c.alive = cmd, exited, alive

	db, err := sql.Open("postgres", c.URL("postgres"))
	if err != nil {
		return errors.Join(err, c.stop(syscall.SIGQUIT))
	}
	defer db.Close()
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := db.PingContext(ctx)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
		case <-time.After(20 * time.Millisecond):
			if time.Now().Before(deadline) {
				continue
			}
		}
		text, _ := os.ReadFile(messages.Name())
		return errors.Join(fmt.Errorf("PostgreSQL did not start: %w\n%s", err, text), c.stop(syscall.SIGQUIT))
	}
}

// stop sends the server a signal, waits until it has ended and dismisses the watchdog.
func (c *Cluster) stop(sig syscall.Signal) error {
	if c.server == nil {
		return nil
	}
	err := c.server.Process.Signal(sig)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	select {
	case <-c.exited:
	case <-time.After(time.Minute):
		err = fmt.Errorf("PostgreSQL did not stop within a minute of %s", sig)
		_ = c.server.Process.Kill()
		<-c.exited
	}
	_, errTell := c.alive.WriteString("done\n")
	if errors.Is(errTell, syscall.EPIPE) {
		errTell = nil // it ended by itself before
	}
	err = errors.Join(err, errTell, c.alive.Close())
	c.server = nil
	return err
}

// end stops the server and removes its data.
func (c *Cluster) end() error {
	return errors.Join(c.stop(syscall.SIGQUIT), os.RemoveAll(c.dir))
}

// serverUser returns whom the server must run as: PostgreSQL refuses root. Nil is the present user.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, errMissing // the package makes this user
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errUID, errGID)
}

// program finds one of the server's programs: the newest of Debian's, else what PATH has.
func program(name string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil {
		return "", err
	}
	newest, path := 0, ""
	for _, f := range found {
		version, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(f))))
		if err == nil && version > newest {
			newest, path = version, f
		}
	}
	if newest >= 15 {
		return path, nil
	}
	if path, err = exec.LookPath(name); err != nil {
		return "", errMissing
	}
	return path, nil
}

// freePort returns a port nobody listens on, below those that the kernel gives to connections, so that no other test is
// given it a moment later.
func freePort() (int, error) {
	for range 100 {
		port := 20000 + rand.IntN(10000)
		l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return 0, err
		}
		return port, l.Close()
	}
	return 0, errors.New("no free port between 20000 and 30000")
}

// createDatabase makes a database beside another one, empty or as a copy, for as long as the test.
func createDatabase(t testing.TB, beside, template string) (databaseURL string) {
	t.Helper()
	u, err := url.Parse(beside)
	must(t, err)
	u.Path = "/postgres"
	admin := u.String()
	name := "ratebook_test_" + strings.ToLower(cryptorand.Text()[:12])
	statement := "CREATE DATABASE " + name
	if template != "" {
		statement += " TEMPLATE " + quote(template)
	}
	must(t, execute(admin, statement))
	t.Cleanup(func() {
		if err := execute(admin, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("testserver: %v", err)
		}
	})
	u.Path = "/" + name
	return u.String()
}

// execute runs a statement on a connection of its own.
func execute(databaseURL, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	db, err := sql.Open("postgres", databaseURL)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
