package app

import (
	"context"
	"fmt"
	"slices"
	"text/tabwriter"
	"time"

	"ratebook/access"
	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
	"ratebook/rating"
	"ratebook/store"
)

type userToken struct {
	Add    tokenAdd    `cmd:"" help:"Make a token with which a program uses the API, and print its secret, this once."`
	List   tokenList   `cmd:"" help:"List all tokens."`
	Revoke tokenRevoke `cmd:"" help:"Make a token worthless, for good."`
}

type tokenAdd struct {
	databaseFlags
	Name    string   `arg:"" help:"What will use the token."`
	Role    string   `default:"viewer" help:"admin, operator, viewer or tenant."`
	Scope   []string `placeholder:"ID" help:"A scope that a tenant's token may read. Repeatable, or separated by commas."`
	Expires string   `placeholder:"TIME" help:"Until when the token lets in: a time, or a day of the billing zone. Default: until it is revoked."`
}

func (c *tokenAdd) Run(r *run) error {
	role, err := access.ParseRole(c.Role)
	if err != nil {
		return err
	}
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		settings, err := s.Settings(ctx, store.Wanted{})
		if err != nil {
			return err
		}
		now := time.Now()
		t := access.Token{Name: c.Name, Role: role, Scopes: c.Scope, Created: now}
		if t.Expires, err = rating.ParseTime(c.Expires, settings.Zone); err != nil {
			return fault.New(fault.Invalid, "--expires: %v", err)
		}
		if err := t.Check(now); err != nil {
			return err
		}
		scopes, err := s.Scopes(ctx)
		if err != nil {
			return err
		}
		secret, digest := access.NewSecret()
		id, err := s.AddToken(ctx, t, digest, actor())
		if err != nil {
			return err
		}
		fmt.Fprintln(r.Out, secret)
		fmt.Fprintf(r.Err, "This is the secret of token %d. It is shown this once; a program sends it as X-Auth-Token.\n", id)
		for _, scope := range slices.Compact(slices.Sorted(slices.Values(t.Scopes))) {
			if !slices.ContainsFunc(scopes, func(s *metering.Scope) bool { return s.ID == scope }) {
				fmt.Fprintf(r.Err, "The scope %q is not known yet. The token reads it once it is. If the id is mistyped, revoke the token and make another one.\n", scope)
			}
		}
		return nil
	})
}

type tokenList struct{ databaseFlags }

func (c *tokenList) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error {
		all, err := s.Tokens(ctx)
		if err != nil || len(all) == 0 {
			return err
		}
		out := tabwriter.NewWriter(r.Out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(out, "ID\tNAME\tROLE\tSTATE\tLAST USED\tMADE")
		for _, t := range all {
			state, used := "lets in", "never"
			switch {
			case !t.Revoked.IsZero():
				state = "revoked"
			case !t.Valid(time.Now()):
				state = "expired"
			case !t.Expires.IsZero():
				state += " until " + period.Format(t.Expires, time.UTC)
			}
			if !t.Used.IsZero() {
				used = period.Format(t.Used, time.UTC)
			}
			role := string(t.Role)
			for i, scope := range t.Scopes {
				if i == 0 {
					role += " of " + scope
				} else {
					role += ", " + scope
				}
			}
			fmt.Fprintf(out, "%d\t%s\t%s\t%s\t%s\t%s by %s\n", t.ID, t.Name, role, state, used, period.Format(t.Created, time.UTC), t.CreatedBy)
		}
		return out.Flush()
	})
}

type tokenRevoke struct {
	databaseFlags
	ID int64 `arg:"" help:"The token's number, as the list has it."`
}

func (c *tokenRevoke) Run(r *run) error {
	return c.with(r, func(ctx context.Context, s *store.Store) error { return s.RevokeToken(ctx, c.ID, actor()) })
}
