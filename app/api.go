package app

import (
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"ratebook/access/keystone"
	"ratebook/fault"
	"ratebook/web"
)

// apiFlags say how programs reach the CloudKitty-compatible API, and how they say who they are.
type apiFlags struct {
	APIAuth          string   `name:"api-auth" enum:"token,keystone,none" default:"token" help:"How programs that use the API say who they are: token (Ratebook's tokens), keystone (OpenStack's), none (everyone is an admin; only on loopback)."`
	APIListen        string   `name:"api-listen" placeholder:"ADDRESS" help:"Address of a listener of its own for the API. Default: the address of the pages."`
	APIOrigin        []string `name:"api-origin" placeholder:"URL" help:"A site whose pages may use the API from a browser, such as https://horizon.example; * is any. Repeatable, or separated by commas."`
	KeystoneURL      string   `name:"keystone-url" placeholder:"URL" help:"Address of the Keystone that knows tokens: https://keystone.example:5000/v3."`
	KeystoneCA       string   `name:"keystone-ca" placeholder:"FILE" help:"PEM certificates to trust for Keystone. Default: the system's."`
	KeystoneInsecure bool     `name:"keystone-insecure" help:"Don't check Keystone's certificate."`
	KeystoneAdmin    []string `name:"keystone-admin-role" placeholder:"ROLE" default:"admin" help:"Keystone's role that makes an admin. Repeatable, or separated by commas."`
}

// configure fills in what the flags say; listen is where the pages are.
func (f *apiFlags) configure(c *web.Config, tokens web.Tokens, listen string) error {
	c.APIListen, c.AllowedOrigins, c.Tokens = f.APIListen, f.APIOrigin, tokens
	if f.APIAuth != "keystone" && f.KeystoneURL != "" {
		return fault.New(fault.Invalid, "--keystone-url is only for --api-auth keystone")
	}
	switch f.APIAuth {
	case "none":
		address := listen
		if f.APIListen != "" {
			address = f.APIListen
		}
		if !onLoopback(address) {
			return fault.New(fault.Invalid, "--api-auth none lets everyone do everything, and %s can be reached from elsewhere; listen on loopback, such as 127.0.0.1:8889, or use tokens", address)
		}
		if slices.Contains(f.APIOrigin, "*") {
			return fault.New(fault.Invalid, "--api-auth none with --api-origin '*' lets every page that a browser of this machine shows do everything; name the sites")
		}
		a := web.NoAuth{}
		if c.BaseURL != nil {
			a.Host = c.BaseURL.Hostname()
		}
		c.Authenticator = a
	case "keystone":
		if f.KeystoneURL == "" {
			return fault.New(fault.Invalid, "--api-auth keystone needs --keystone-url, such as https://keystone.example:5000/v3")
		}
		config := keystone.Config{URL: f.KeystoneURL, Insecure: f.KeystoneInsecure, AdminRoles: f.KeystoneAdmin, Now: time.Now}
		if f.KeystoneCA != "" {
			var err error
			if config.CA, err = os.ReadFile(f.KeystoneCA); err != nil {
				return fmt.Errorf("--keystone-ca: %w", err)
			}
		}
		a, err := keystone.New(config)
		if err != nil {
			return err
		}
		c.Authenticator = a
	default:
		c.Authenticator = web.TokenAuth{Tokens: tokens, Now: time.Now}
	}
	return nil
}

// onLoopback reports whether only programs of this machine reach an address.
func onLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
