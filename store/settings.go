package store

import (
	"context"
	"time"

	"ratebook/fault"
	"ratebook/metering"
	"ratebook/period"
)

// Wanted are the settings a process was started with; zero values ask for nothing.
type Wanted struct {
	Period   time.Duration
	ScopeKey string
	Timezone string
	Currency string
}

// Settings of a database that was never given any.
const (
	defaultScopeKey = "project_id"
	defaultTimezone = "UTC"
	defaultCurrency = "EUR"
)

// names in the table settings
const (
	settingPeriod   = "period"
	settingScopeKey = "scope_key"
	settingTimezone = "timezone"
	settingCurrency = "currency"
	settingRecut    = "timezone_wanted" // while roll-ups are recomputed for another zone

	settingKeepCharges   = "keep_charges"
	settingKeepRollups   = "keep_rollups"
	settingChargesFrom   = "charges_from"   // the begin of the first billing month with charges; all before were dropped
	settingRollupsFrom   = "rollups_from"   // and of the first with roll-ups
	settingSeriesOf      = "series_kept_of" // both, when series that nobody refers to were last dropped
	settingSeriesDeleted = "series_deleted" // changes whenever series are deleted
)

// UseSettings returns the database's settings. The first use stores them, as wanted or else by default; later a wish that
// differs from what is stored is refused with the command that changes it.
func (s *Store) UseSettings(ctx context.Context, w Wanted) (*metering.Settings, error) {
	settings, complete, err := s.readSettings(ctx, w)
	if err != nil || complete {
		return settings, err
	}
	err = s.update(ctx, func(t *tx) error { // DO NOTHING: another process may be starting, too
		for _, v := range w.list() {
			if _, err := t.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", v.name, v.first()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	settings, _, err = s.readSettings(ctx, w)
	return settings, err
}

// Settings returns what UseSettings would, and stores nothing.
func (s *Store) Settings(ctx context.Context, w Wanted) (*metering.Settings, error) {
	settings, _, err := s.readSettings(ctx, w)
	return settings, err
}

// readSettings returns the settings, as wanted or by default where none are stored; complete says that all are.
func (s *Store) readSettings(ctx context.Context, w Wanted) (settings *metering.Settings, complete bool, err error) {
	if err := w.check(); err != nil {
		return nil, false, err
	}
	stored, err := s.rawSettings(ctx)
	if err != nil {
		return nil, false, err
	}
	complete = true
	for _, v := range w.list() {
		have, ok := stored[v.name]
		if !ok {
			stored[v.name], complete = v.first(), false
		} else if v.wish != "" && v.wish != have {
			return nil, false, fault.New(fault.Invalid, "%s is %s, but this database has %s; leave the flag away, or run `ratebook settings set %s %s`",
				v.flag, v.wish, have, v.name, v.wish)
		}
	}
	settings, err = parseSettings(stored)
	return settings, complete, err
}

// wish is one setting as a process wants it.
type wish struct{ name, flag, wish, standard string }

// first is the value that the first use stores.
func (w *wish) first() string {
	if w.wish == "" {
		return w.standard
	}
	return w.wish
}

func (w *Wanted) list() []wish {
	return []wish{
		{settingPeriod, "--period", DurationText(w.Period), DurationText(period.Default)},
		{settingScopeKey, "--scope-key", w.ScopeKey, defaultScopeKey},
		{settingTimezone, "--timezone", w.Timezone, defaultTimezone},
		{settingCurrency, "--currency", w.Currency, defaultCurrency},
	}
}

// DurationText writes a period as people write it; "" for none.
func DurationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	t := d.String() // 1h0m0s
	for _, zero := range []string{"m0s", "h0m"} {
		if len(t) > 2 && t[len(t)-len(zero):] == zero {
			t = t[:len(t)-2]
		}
	}
	return t
}

func (w *Wanted) check() error {
	if w.Period != 0 {
		if err := period.Check(w.Period); err != nil {
			return fault.New(fault.Invalid, "--period: %v", err)
		}
	}
	if w.Timezone != "" {
		if _, err := period.ParseZone(w.Timezone); err != nil {
			return fault.New(fault.Invalid, "--timezone: %v", err)
		}
	}
	if w.Currency != "" {
		if err := checkCurrency(w.Currency); err != nil {
			return fault.New(fault.Invalid, "--currency: %v", err)
		}
	}
	return nil
}

func checkCurrency(c string) error {
	ok := len(c) == 3
	for _, r := range c {
		ok = ok && r >= 'A' && r <= 'Z'
	}
	if !ok {
		return fault.New(fault.Invalid, "%q is no currency code; use three capital letters of ISO 4217, such as EUR", c)
	}
	return nil
}

// rawSettings returns all settings as stored.
func (s *Store) rawSettings(ctx context.Context) (map[string]string, error) {
	var rows []struct{ Name, Value string }
	err := s.view(ctx, func(t *tx) error { return t.list(ctx, &rows, "SELECT name, value FROM settings") })
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for _, r := range rows {
		all[r.Name] = r.Value
	}
	return all, nil
}

func parseSettings(stored map[string]string) (*metering.Settings, error) {
	if zone, ok := stored[settingRecut]; ok {
		return nil, fault.New(fault.Unavailable, "the billing days are being recomputed for %s; if that was interrupted, run `ratebook settings set timezone %s` again", zone, zone)
	}
	d, err := time.ParseDuration(stored[settingPeriod])
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the stored setting period can't be read")
	}
	zone, err := period.ParseZone(stored[settingTimezone])
	if err != nil {
		return nil, fault.Wrap(fault.Internal, err, "the stored setting timezone can't be read")
	}
	kept, err := parseRetention(stored)
	if err != nil {
		return nil, err
	}
	return &metering.Settings{Period: d, ScopeKey: stored[settingScopeKey], Zone: zone, Currency: stored[settingCurrency], Retention: kept}, nil
}

// parseRetention reads the settings about what is kept; what is not stored is kept forever.
func parseRetention(stored map[string]string) (r metering.Retention, err error) {
	for name, keep := range map[string]*metering.Keep{settingKeepCharges: &r.Charges, settingKeepRollups: &r.Rollups} {
		if text := stored[name]; text != "" && err == nil {
			if *keep, err = metering.ParseKeep(text); err != nil {
				err = fault.Wrap(fault.Internal, err, "the stored setting %s can't be read", name)
			}
		}
	}
	for name, from := range map[string]*time.Time{settingChargesFrom: &r.ChargesFrom, settingRollupsFrom: &r.RollupsFrom} {
		if text := stored[name]; text != "" && err == nil {
			if *from, err = time.Parse(time.RFC3339, text); err != nil {
				err = fault.Wrap(fault.Internal, err, "the stored setting %s can't be read", name)
			}
		}
	}
	return r, err
}

// currentSettings returns the settings a working Store was opened for.
func (s *Store) currentSettings(ctx context.Context) (*metering.Settings, error) {
	s.mu.Lock()
	have := s.settings
	s.mu.Unlock()
	if have != nil {
		return have, nil
	}
	have, complete, err := s.readSettings(ctx, Wanted{})
	if err != nil || !complete {
		return have, err
	}
	s.mu.Lock()
	s.settings = have
	s.mu.Unlock()
	return have, nil
}

// SetSetting changes one setting by name. A time zone recomputes all roll-ups, resumably, and needs that no worker runs
// meanwhile and no charges were ever dropped; a currency or scope key can be changed only while there are no charges or
// scopes; a period applies to windows that are not planned yet. For how long charges and roll-ups are kept counts from the
// next Retain on; what was dropped does not come back.
func (s *Store) SetSetting(ctx context.Context, name, value, actor string) error {
	w := Wanted{}
	if value == "" {
		return fault.New(fault.Invalid, "the setting %s needs a value", name)
	}
	switch name {
	case settingPeriod:
		d, err := time.ParseDuration(value)
		if err != nil || d == 0 {
			return fault.New(fault.Invalid, "%q is no duration; write it like 1h or 10m", value)
		}
		w.Period, value = d, DurationText(d)
	case settingScopeKey:
		w.ScopeKey = value
	case settingTimezone:
		w.Timezone = value
	case settingCurrency:
		w.Currency = value
	case settingKeepCharges, settingKeepRollups:
		return s.setKeep(ctx, name, value, actor)
	default:
		return fault.New(fault.Invalid, "there is no setting %q; settings are period, scope_key, timezone, currency, keep_charges and keep_rollups", name)
	}
	if err := w.check(); err != nil {
		return err
	}
	stored, err := s.rawSettings(ctx)
	if err != nil {
		return err
	}
	if stored[settingRecut] == "" && stored[name] == value {
		return nil
	}
	defer func() {
		s.mu.Lock()
		s.settings = nil
		s.mu.Unlock()
	}()
	if name == settingTimezone && stored[name] != "" {
		return s.recut(ctx, stored[name], value, actor)
	}
	return s.update(ctx, func(t *tx) error {
		for setting, question := range map[string]struct{ sql, sentence string }{
			settingCurrency: {"SELECT 1 WHERE EXISTS (SELECT 1 FROM charges) OR EXISTS (SELECT 1 FROM superseded_charges)", "the currency can't be changed any more: there are charges in %s"},
			settingScopeKey: {"SELECT 1 FROM scopes LIMIT 1", "the scope key can't be changed any more: there are scopes found by %s"},
		} {
			var one int
			if setting != name {
				continue
			}
			if found, err := t.get(ctx, &one, question.sql); err != nil {
				return err
			} else if found {
				return fault.New(fault.Conflict, question.sentence, stored[name])
			}
		}
		return s.storeSetting(ctx, t, name, stored[name], value, actor)
	})
}

// setKeep changes for how long charges or roll-ups are kept.
func (s *Store) setKeep(ctx context.Context, name, value, actor string) error {
	keep, err := metering.ParseKeep(value)
	if err != nil {
		return fault.New(fault.Invalid, "%s: %v", name, err)
	}
	return s.update(ctx, func(t *tx) error {
		if err := t.lockZone(ctx); err != nil { // or the other of the two could be changed at once
			return err
		}
		kept, err := t.retention(ctx)
		if err != nil {
			return err
		}
		changed := &kept.Charges
		if name == settingKeepRollups {
			changed = &kept.Rollups
		}
		before := *changed
		if before == keep {
			return nil
		}
		*changed = keep
		if err := kept.Check(); err != nil {
			return err
		}
		return s.storeSetting(ctx, t, name, before.String(), keep.String(), actor)
	})
}

func (s *Store) storeSetting(ctx context.Context, t *tx, name, before, value, actor string) error {
	if err := t.set(ctx, name, value); err != nil {
		return err
	}
	return t.audit(ctx, actor, "set", "setting "+name, before, value)
}

// set stores a setting.
func (t *tx) set(ctx context.Context, name, value string) error {
	_, err := t.exec(ctx, "INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return err
}
