package v1

import (
	"net/http"
	"slices"
	"strings"

	"ratebook/costs"
	"ratebook/metering"
	"ratebook/period"
)

// summaryRow is a sum of charges as clients know it.
type summaryRow struct {
	Begin    string `json:"begin"`
	End      string `json:"end"`
	TenantID string `json:"tenant_id"`
	ResType  string `json:"res_type"`
	Rate     string `json:"rate"`
}

// sumOfAll is the tenant and the type of sums of all tenants and types.
const sumOfAll = "ALL"

// between returns the range that a request asks for: without any, the billing month that it is.
func (s *server) between(r *request) period.Range {
	now, zone := s.now(), s.Settings.Zone
	asked := period.Range{Begin: period.Month.Start(now, zone), End: period.Month.Next(now, zone)}
	if r.args.has("begin") {
		asked.Begin = r.args.time("begin")
	}
	if r.args.has("end") {
		asked.End = r.args.time("end")
	}
	return asked
}

// tenant returns the tenant whose charges a request is about, empty for all, or refuses: who doesn't read every scope must
// ask for one that it reads, if it doesn't mean its own.
func (r *request) tenant(everyone bool, policy string) (string, error) {
	tenant := r.args.text("tenant_id")
	if r.who.ReadsAll() {
		if everyone {
			return "", nil
		}
		return tenant, nil
	}
	if tenant == "" {
		tenant = r.who.Project
	}
	if everyone || tenant == "" || tenant == metering.UndefinedScope || !r.who.Reads(tenant) {
		return "", forbidden(policy)
	}
	return tenant, nil
}

// ownTenant is tenant for reports, of which everyone gets their own project's unless they ask for others.
func (r *request) ownTenant(policy string) (string, error) {
	everyone := r.args.flag("all_tenants")
	tenant, err := r.tenant(everyone, policy)
	if err == nil && tenant == "" && !everyone {
		tenant = r.who.Project
	}
	return tenant, err
}

// filters returns those that keep a tenant's charges of a metric; an empty text keeps all.
func filters(tenant, metric string) (filters []costs.Filter) {
	if tenant != "" {
		filters = append(filters, costs.Filter{Key: costs.Scope, Values: []string{tenant}})
	}
	if metric != "" {
		filters = append(filters, costs.Filter{Key: costs.Metric, Values: []string{metric}})
	}
	return filters
}

// listTenants lists all scopes, whatever the range, as CloudKitty does.
func (s *server) listTenants(r *request) error {
	scopes, err := s.Catalog.Scopes(r.Request().Context())
	if err != nil {
		return err
	}
	tenants := make([]string, len(scopes))
	for i, scope := range scopes {
		tenants[i] = scope.ID
	}
	slices.Sort(tenants)
	return r.JSON(http.StatusOK, slices.Compact(tenants))
}

func (s *server) total(r *request) error {
	tenant, err := r.ownTenant("report:get_total")
	if err != nil {
		return err
	}
	q := &costs.Query{Range: s.between(r), Filters: filters(tenant, r.args.text("service"))}
	if q.Range.Empty() {
		return r.JSON(http.StatusOK, "0")
	}
	total, err := s.Charges.Report(r.Request().Context(), q, func(costs.Row) error { return nil })
	if err != nil {
		return err
	}
	return r.JSON(http.StatusOK, total.Cost)
}

func (s *server) summary(r *request) error {
	tenant, err := r.ownTenant("report:get_summary")
	if err != nil {
		return err
	}
	q := &costs.Query{Range: s.between(r), Filters: filters(tenant, r.args.text("service"))}
	byTenant, byType := strings.Contains(r.args.text("groupby"), "tenant_id"), strings.Contains(r.args.text("groupby"), "res_type")
	if byTenant {
		q.Groups = append(q.Groups, costs.Scope)
	}
	if byType {
		q.Groups = append(q.Groups, costs.Metric)
	}
	rows := []summaryRow{}
	if !q.Range.Empty() {
		_, err = s.Charges.Report(r.Request().Context(), q, func(row costs.Row) error {
			sum := summaryRow{naive(q.Range.Begin), naive(q.Range.End), sumOfAll, sumOfAll, row.Cost.String()}
			if byTenant {
				sum.TenantID = row.Groups[0]
			}
			if byType {
				sum.ResType = row.Groups[len(row.Groups)-1]
			}
			rows = append(rows, sum)
			return nil
		})
	}
	if err != nil {
		return err
	}
	return r.JSON(http.StatusOK, map[string]any{"summary": rows})
}
