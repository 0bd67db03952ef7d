package app

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/store"
)

type userCommand struct {
	Add     userAdd     `cmd:"" help:"Add a user; the password is read from standard input."`
	Passwd  userPasswd  `cmd:"" help:"Change a user's password; it is read from standard input."`
	Disable userDisable `cmd:"" help:"Keep a user from signing in."`
	Enable  userEnable  `cmd:"" help:"Let a disabled user sign in again."`
	Scopes  userScopes  `cmd:"" help:"Say which scopes a tenant may read, instead of those before."`
	List    userList    `cmd:"" help:"List all users, and the scopes of tenants."`
	Token   userToken   `cmd:"" help:"Make, list and revoke tokens, with which programs use the API."`
}

type userFlags struct {
	databaseFlags
	Login string `arg:"" help:"The user's login."`
}

type userAdd struct {
	userFlags
	Role  string   `default:"viewer" help:"admin, operator, viewer or tenant."`
	Scope []string `placeholder:"ID" help:"A scope that a tenant may read. Repeatable, or separated by commas."`
}

func (c *userAdd) Run(r *run) error {
	role, err := access.ParseRole(c.Role)
	if err != nil {
		return err
	}
	if err := access.CheckLogin(c.Login); err != nil {
		return err
	}
	if role == access.Tenant {
		err = checkScopes(c.Scope)
	} else if len(c.Scope) > 0 {
		err = fault.New(fault.Invalid, "--scope is only for tenants; role %s reads every scope", role)
	}
	if err != nil {
		return err
	}
	hash, err := password(r.In)
	if err != nil {
		return err
	}
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		return s.AddUser(ctx, access.User{Login: c.Login, Role: role, PasswordHash: hash, Scopes: c.Scope}, actor())
	})
}

// checkScopes says whether these can be a tenant's scopes. They need not be known: a tenant may be there before its usage.
func checkScopes(ids []string) error {
	if len(ids) == 0 {
		return fault.New(fault.Invalid, "a tenant reads only its own scopes; name each with --scope ID")
	}
	if slices.Contains(ids, "") {
		return fault.New(fault.Invalid, "the id of a scope can't be empty")
	}
	if slices.Contains(ids, metering.UndefinedScope) {
		return fault.New(fault.Invalid, "%s is usage that names no scope, which is no tenant's", metering.UndefinedScope)
	}
	return nil
}

// password reads one line and returns its hash.
func password(in io.Reader) (hash string, err error) {
	line, err := bufio.NewReader(io.LimitReader(in, 4096)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fault.New(fault.Invalid, "the password can't be read from standard input: %v", err)
	}
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fault.New(fault.Invalid, "there is no password on standard input; pipe it in, or type it and press Enter")
	}
	return access.HashPassword(line)
}

type userPasswd struct{ userFlags }

func (c *userPasswd) Run(r *run) error {
	hash, err := password(r.In)
	if err != nil {
		return err
	}
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.SetPassword(ctx, c.Login, hash, actor()) })
}

type userDisable struct{ userFlags }

func (c *userDisable) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.DisableUser(ctx, c.Login, actor()) })
}

type userEnable struct{ userFlags }

func (c *userEnable) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.EnableUser(ctx, c.Login, actor()) })
}

type userScopes struct {
	userFlags
	Scope []string `placeholder:"ID" help:"A scope that the tenant may read. Repeatable, or separated by commas."`
}

func (c *userScopes) Run(r *run) error {
	if err := checkScopes(c.Scope); err != nil {
		return err
	}
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		return s.SetUserScopes(ctx, c.Login, c.Scope, actor())
	})
}

type userList struct{ databaseFlags }

func (c *userList) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		users, err := s.Users(ctx)
		for _, u := range users {
			state := "active"
			if !u.Disabled.IsZero() {
				state = "disabled"
			}
			line := fmt.Sprintf("%-24s %-10s %-10s %s", u.Login, u.Role, state, strings.Join(u.Scopes, ", "))
			fmt.Fprintln(r.Out, strings.TrimRight(line, " "))
		}
		return err
	})
}

type settingsCommand struct {
	Show settingsShow `cmd:"" help:"Print the settings."`
	Set  settingsSet  `cmd:"" help:"Change one setting. A new timezone recomputes all roll-ups; stop serve and process before."`
}

type settingsShow struct{ databaseFlags }

func (c *settingsShow) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := s.Settings(ctx, store.Wanted{})
		if err != nil {
			return err
		}
		kept := &settings.Retention
		lines := []struct{ name, value string }{
			{"period", store.DurationText(settings.Period)},
			{"scope_key", settings.ScopeKey},
			{"timezone", settings.Zone.String()},
			{"currency", settings.Currency},
			{"keep_charges", kept.Charges.String()},
			{"keep_rollups", kept.Rollups.String()},
		}
		for _, l := range lines {
			fmt.Fprintf(r.Out, "%-12s  %s\n", l.name, l.value)
		}
		if from := kept.ChargesFrom; !from.IsZero() {
			fmt.Fprintf(r.Out, "Charges from before %s were dropped.\n", period.Format(from, settings.Zone))
		}
		if from := kept.RollupsFrom; !from.IsZero() {
			fmt.Fprintf(r.Out, "Roll-ups from before %s were dropped.\n", period.Format(from, settings.Zone))
		}
		return nil
	})
}

type settingsSet struct {
	databaseFlags
	Name  string `arg:"" help:"period, scope_key, timezone, currency, keep_charges or keep_rollups."`
	Value string `arg:"" help:"The new value."`
}

func (c *settingsSet) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.SetSetting(ctx, c.Name, c.Value, actor()) })
}

type rollupsCommand struct {
	Verify  rollupsVerify  `cmd:"" help:"Compare all roll-ups with the charges they sum; exit status 1 if one differs."`
	Rebuild rollupsRebuild `cmd:"" help:"Compute all roll-ups anew from the charges."`
}

type rollupsVerify struct{ databaseFlags }

func (c *rollupsVerify) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		wrong := 0
		err := s.VerifyRollups(ctx, func(m store.Mismatch) {
			wrong++
			fmt.Fprintf(r.Out, "%s: %s\n", m.Scope, m.What)
		})
		if err != nil {
			return err
		}
		if wrong > 0 {
			fmt.Fprintf(r.Err, "ratebook: the roll-ups differ from their charges in %s; `ratebook rollups rebuild` computes them anew\n", count(wrong, "row"))
			return silent{exitFailed}
		}
		fmt.Fprintln(r.Out, "All roll-ups equal the sums of their charges.")
		return nil
	})
}

type rollupsRebuild struct{ databaseFlags }

func (c *rollupsRebuild) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		var scopes int
		err := s.RebuildRollups(ctx, actor(), func(_, all int) { scopes = all })
		if err == nil {
			fmt.Fprintf(r.Out, "Computed the roll-ups of %s.\n", count(scopes, "scope"))
		}
		return err
	})
}

type versionCommand struct{}

func (versionCommand) Run(r *run) error {
	fmt.Fprintf(r.Out, "ratebook %s, %s %s/%s\n", programVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// version is set by the linker; see the Makefile.
var version string

func programVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision := ""
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value[:min(12, len(s.Value))]
		}
	}
	if revision == "" {
		return "development"
	}
	return "development " + revision
}
