// Copyright The Portico Authors
// SPDX-License-Identifier: Apache-2.0

package servers

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"portico.dev/portico/cmd/porticod/child"
)

// SQLOptions change a database server's defaults.
type SQLOptions struct {
	// TLS makes it accept connections with TLS only.
	TLS *TLS
}

// The administrator of database servers that are started here.
const (
	SQLUser     = "portico"
	SQLPassword = "a-secret-of-the-database"
)

// PostgreSQL starts a PostgreSQL server.
func PostgreSQL(t testing.TB, o SQLOptions) *Server {
	t.Helper()
	binaries, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(binaries) == 0 {
		missing(t, "PostgreSQL")
	}
	bin := filepath.Dir(binaries[len(binaries)-1])
	s, as := newSQL(t, "postgres")
	port := portOf(t, s.Address)
	data, password := filepath.Join(s.Dir, "data"), as.write("password", SQLPassword)
	as.run(filepath.Join(bin, "initdb"), "-D", data, "-U", SQLUser, "--pwfile", password,
		"--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8", "--locale", "C")
	args := []string{
		"-D", data, "-c", "listen_addresses=127.0.0.1", "-c", "port=" + port, "-c", "unix_socket_directories=",
		"-c", "fsync=off", // its disk is not tested
	}
	if o.TLS != nil {
		as.write("data/pg_hba.conf", "hostssl all all 127.0.0.1/32 scram-sha-256\n")
		args = append(args, "-c", "ssl=on", "-c", "ssl_cert_file="+as.copy(o.TLS.ServerCert), "-c", "ssl_key_file="+as.copy(o.TLS.ServerKey))
	}
	s.spec = as.spec("PostgreSQL", filepath.Join(bin, "postgres"), args...)
	return start(t, s)
}

// MariaDB starts a MariaDB server.
func MariaDB(t testing.TB, o SQLOptions) *Server {
	t.Helper()
	binary := "/usr/sbin/mariadbd"
	if _, err := os.Stat(binary); err != nil {
		missing(t, "MariaDB")
	}
	s, as := newSQL(t, "mysql")
	port := portOf(t, s.Address)
	data, require := filepath.Join(s.Dir, "data"), ""
	as.run("mariadb-install-db", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	args := []string{
		"--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + port, "--socket=" + filepath.Join(s.Dir, "socket"),
		"--pid-file=" + filepath.Join(s.Dir, "pid"), "--skip-name-resolve",
		// Tests kill it, and expect to find the committed rows: the log is
		// written with each commit, only not synced.
		"--innodb-flush-log-at-trx-commit=2",
	}
	if o.TLS != nil {
		require = " REQUIRE SSL"
		args = append(args, "--ssl-ca="+as.copy(o.TLS.CA), "--ssl-cert="+as.copy(o.TLS.ServerCert), "--ssl-key="+as.copy(o.TLS.ServerKey))
	}
	init := as.write("init.sql", fmt.Sprintf("CREATE USER IF NOT EXISTS '%s'@'127.0.0.1' IDENTIFIED BY '%s'%s;\nGRANT ALL ON *.* TO '%s'@'127.0.0.1';\n",
		SQLUser, SQLPassword, require, SQLUser))
	s.spec = as.spec("MariaDB", binary, append(args, "--init-file="+init)...)
	return start(t, s)
}

func portOf(t testing.TB, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// missing ends a test whose server is not installed.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed: run test/servers/install", what)
	}
	t.Skipf("NOT TESTED: %s is not installed: run test/servers/install", what)
}

// account is the system account that a server runs as. Databases refuse to run
// as root.
type account struct {
	t        testing.TB
	dir      string
	name     string // empty: the one that we run as
	uid, gid int
}

func newSQL(t testing.TB, name string) (*Server, account) {
	t.Helper()
	s := &Server{Address: free(t, 1, loopback)[0], Dir: t.TempDir()}
	s.ready = func() error { return dial(t.Context(), s.Address) }
	a := account{t: t, dir: s.Dir}
	if os.Geteuid() != 0 {
		return s, a
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	a.name = name
	a.uid, _ = strconv.Atoi(u.Uid)
	a.gid, _ = strconv.Atoi(u.Gid)
	// The account has to get to its directory.
	if err := os.Chmod(filepath.Dir(s.Dir), 0o711); err != nil { //nolint:gosec // A test's directory; its secret files have a mode of their own.
		t.Fatal(err)
	}
	a.own(s.Dir)
	return s, a
}

func (a account) own(path string) {
	a.t.Helper()
	if a.name == "" {
		return
	}
	if err := os.Chown(path, a.uid, a.gid); err != nil {
		a.t.Fatal(err)
	}
}

// write makes a file that only the account can read.
func (a account) write(name, content string) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil { //nolint:gosec // The path is our own.
		a.t.Fatal(err)
	}
	a.own(path)
	return path
}

func (a account) copy(path string) string {
	a.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(filepath.Base(path), string(content))
}

// as puts the change of the account before a command. The kernel forgets, at
// such a change, that the process ends with its parent.
func (a account) as(args ...string) []string {
	if a.name == "" {
		return args
	}
	return append([]string{"setpriv", "--reuid", a.name, "--regid", strconv.Itoa(a.gid), "--clear-groups", "--pdeathsig", "KILL"}, args...)
}

func (a account) run(args ...string) {
	a.t.Helper()
	args = a.as(args...)
	cmd := exec.CommandContext(a.t.Context(), args[0], args[1:]...)
	cmd.Dir = a.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		a.t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func (a account) spec(name, program string, args ...string) child.Spec {
	args = a.as(append([]string{program}, args...)...)
	if path, err := exec.LookPath(args[0]); err == nil {
		args[0] = path
	}
	return child.Spec{Name: name, Executable: args[0], Args: args[1:]}
}
