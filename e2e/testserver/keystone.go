package testserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"testing"
)

// KeystoneServer is a real Keystone on a loopback port, with its own SQLite database. Its methods are for the test's own
// goroutine.
type KeystoneServer struct {
	URL string // without /v3
	process
	t     testing.TB
	admin string // an admin's token
}

// Keystone starts a Keystone that has one project, admin, and one user, admin, who is admin in it. Where Debian's package is
// missing the test is skipped; in CI it fails.
func Keystone(t testing.TB) *KeystoneServer {
	t.Helper()
	for _, program := range []string{"keystone-manage", "keystone-wsgi-public"} {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; install the Debian package keystone", program)
		}
		t.Skipf("%s is missing; install the Debian package keystone", program)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	k := &KeystoneServer{t: t, URL: fmt.Sprintf("http://127.0.0.1:%d", port)}
	config := filepath.Join(dir, "keystone.conf")
	text := fmt.Sprintf(`[database]
connection = sqlite:///%[1]s/keystone.db
[token]
provider = fernet
[fernet_tokens]
key_repository = %[1]s/fernet
[fernet_receipts]
key_repository = %[1]s/fernet
[identity]
password_hash_rounds = 4
[credential]
key_repository = %[1]s/credential
[cache]
enabled = false
`, dir)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"fernet", "credential"} {
		if err := os.Mkdir(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{
		{"db_sync"},
		{"fernet_setup", "--keystone-user", me.Uid, "--keystone-group", me.Gid},
		{"bootstrap", "--bootstrap-password", "secret", "--bootstrap-public-url", k.URL + "/v3/", "--bootstrap-region-id", "test"},
	} {
		cmd := exec.CommandContext(t.Context(), "keystone-manage", append([]string{"--config-file", config}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("keystone-manage %s: %v\n%s", args[0], err, out)
		}
	}
	t.Cleanup(k.Stop)
	err = k.start(dir, []string{"OS_KEYSTONE_CONFIG_FILES=" + config}, k.URL+"/v3", "keystone-wsgi-public", "--host", "127.0.0.1", "--port", fmt.Sprint(port))
	if err != nil {
		t.Fatalf("keystone does not start: %v\n%s", err, k.log)
	}
	k.admin = k.Token("admin", "secret", "admin")
	return k
}

// ask sends a request, decodes the answer's body into answer unless that is nil, and returns its header.
func (k *KeystoneServer) ask(method, path string, header http.Header, body, answer any) http.Header {
	k.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			k.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(k.t.Context(), method, k.URL+"/v3"+path, bytes.NewReader(text))
	if err != nil {
		k.t.Fatal(err)
	}
	req.Close = true
	if header != nil {
		req.Header = header
	}
	req.Header.Set("Content-Type", "application/json")
	if k.admin != "" {
		req.Header.Set("X-Auth-Token", k.admin)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		k.t.Fatal(err)
	}
	defer res.Body.Close()
	said, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		k.t.Fatalf("%s %s: %s %v\n%s", method, path, res.Status, err, said)
	}
	if answer != nil {
		if err := json.Unmarshal(said, answer); err != nil {
			k.t.Fatal(err)
		}
	}
	return res.Header
}

// AddProject makes a project and returns its id.
func (k *KeystoneServer) AddProject(name string) (id string) {
	k.t.Helper()
	var made struct{ Project struct{ ID string } }
	k.ask(http.MethodPost, "/projects", nil, map[string]any{"project": map[string]any{"name": name, "domain_id": "default"}}, &made)
	return made.Project.ID
}

// AddUser makes a user with a password who has a role, such as member or admin, in a project given by its id.
func (k *KeystoneServer) AddUser(name, password, role, project string) (id string) {
	k.t.Helper()
	var made struct{ User struct{ ID string } }
	k.ask(http.MethodPost, "/users", nil, map[string]any{"user": map[string]any{"name": name, "password": password, "domain_id": "default"}}, &made)
	var roles struct{ Roles []struct{ ID string } }
	k.ask(http.MethodGet, "/roles?name="+role, nil, nil, &roles)
	if len(roles.Roles) != 1 {
		k.t.Fatalf("role %s: %v", role, roles)
	}
	k.ask(http.MethodPut, "/projects/"+project+"/users/"+made.User.ID+"/roles/"+roles.Roles[0].ID, nil, nil, nil)
	return made.User.ID
}

// Token returns a token of a user for a project, given by its name; for none, if that is empty.
func (k *KeystoneServer) Token(login, password, project string) string {
	k.t.Helper()
	domain := map[string]any{"id": "default"}
	auth := map[string]any{"identity": map[string]any{
		"methods":  []string{"password"},
		"password": map[string]any{"user": map[string]any{"name": login, "password": password, "domain": domain}},
	}}
	if project != "" {
		auth["scope"] = map[string]any{"project": map[string]any{"name": project, "domain": domain}}
	} else {
		auth["scope"] = "unscoped"
	}
	header := k.ask(http.MethodPost, "/auth/tokens", nil, map[string]any{"auth": auth}, nil)
	return header.Get("X-Subject-Token")
}

// Revoke makes a token worthless.
func (k *KeystoneServer) Revoke(token string) {
	k.t.Helper()
	k.ask(http.MethodDelete, "/auth/tokens", http.Header{"X-Subject-Token": {token}}, nil, nil)
}
