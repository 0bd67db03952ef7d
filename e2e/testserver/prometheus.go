package testserver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// PrometheusServer is a real Prometheus on a loopback port. Its methods are for the test's own goroutine.
type PrometheusServer struct {
	URL string // without /api/v1

	process
	t     testing.TB
	dir   string
	addr  string
	flags []string
}

// Prometheus starts a server that holds the given samples, in the OpenMetrics text format, and scrapes nothing. The flags
// are appended to its command line. It is ready when Prometheus returns, and stopped when the test ends.
//
// Without the programs prometheus and promtool the test is skipped; in CI it fails.
func Prometheus(t testing.TB, openmetrics string, flags ...string) *PrometheusServer {
	t.Helper()
	for _, program := range []string{"prometheus", "promtool"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; install the Debian package prometheus", program)
		}
		t.Skipf("%s is missing; install the Debian package prometheus", program)
	}
	p := &PrometheusServer{t: t, dir: t.TempDir(), flags: flags}
	p.write("prometheus.yml", "global: {}\n")
	p.write("samples.txt", openmetrics)
	if strings.TrimSpace(openmetrics) != "# EOF" { // promtool refuses to import nothing
		out, err := exec.CommandContext(t.Context(), "promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet",
			p.path("samples.txt"), p.path("data")).CombinedOutput()
		if err != nil {
			t.Fatalf("promtool: %v\n%s", err, out)
		}
	}
	t.Cleanup(p.Stop)
	p.Start()
	return p
}

func (p *PrometheusServer) path(name string) string { return filepath.Join(p.dir, name) }

func (p *PrometheusServer) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// Start starts the server again after a Stop, with the same URL and data.
func (p *PrometheusServer) Start() {
	p.t.Helper()
	// A port is free only until somebody takes it; the first time another one does as well.
	for attempt := 1; ; attempt++ {
		if p.URL == "" {
			port, err := freePort()
			if err != nil {
				p.t.Fatal(err)
			}
			p.addr = fmt.Sprintf("127.0.0.1:%d", port)
		}
		err := p.start()
		if err == nil {
			p.URL = "http://" + p.addr
			return
		}
		p.Stop()
		if p.URL != "" || attempt == 3 {
			p.t.Fatalf("prometheus does not start: %v\n%s", err, p.log)
		}
	}
}

// start runs the server and waits until it is ready.
func (p *PrometheusServer) start() error {
	return p.process.start(p.dir, nil, "http://"+p.addr+"/-/ready", append([]string{
		"prometheus",
		"--config.file=" + p.path("prometheus.yml"),
		"--storage.tsdb.path=" + p.path("data"),
		"--storage.tsdb.retention.time=100y",
		"--web.listen-address=" + p.addr,
	}, p.flags...)...)
}
