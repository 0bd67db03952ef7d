package v2

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"ratebook/money"
)

// custom is one of custom_fields: SUM(qty) AS qty. The name that follows AS may be in double quotes.
var custom = regexp.MustCompile(`(?i)^\s*(SUM|MIN|MAX|MEAN|AVG|COUNT)\s*\(\s*(?:"(qty|price)"|(qty|price))\s*\)(?:\s+AS\s+(?:"([^"]+)"|([\pL_][\pL\pN_]*)))?\s*$`)

// mostAggregates is how many columns a summary may have, and longestAlias how many bytes their names.
const (
	mostAggregates = 50
	longestAlias   = 100
)

// parseAggregates reads the list of functions that are asked for instead of the usual sums. Their names must differ from each
// other and from those that are taken.
func parseAggregates(list string, taken []string) (all []aggregate, wrong string) {
	for part := range strings.SplitSeq(list, ",") {
		m := custom.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Sprintf("invalid custom field %s; use SUM, MIN, MAX, MEAN or COUNT of qty or price, such as SUM(price) AS rate", pythonList(part))
		}
		function := strings.ToLower(m[1])
		if function == "avg" {
			function = "mean"
		}
		a := aggregate{function: function, price: strings.EqualFold(m[2]+m[3], "price"), alias: m[4] + m[5]}
		if a.alias == "" {
			a.alias = strings.ToLower(m[1])
			for n := 1; slices.Contains(taken, a.alias); n++ {
				a.alias = strings.ToLower(m[1]) + "_" + strconv.Itoa(n)
			}
		}
		switch {
		case len(a.alias) > longestAlias:
			return nil, "the name of a custom field is too long"
		case slices.Contains(taken, a.alias):
			return nil, fmt.Sprintf("the name %s of a custom field is taken", pythonList(a.alias))
		case len(all) == mostAggregates:
			return nil, "too many custom fields"
		}
		all, taken = append(all, a), append(taken, a.alias)
	}
	return all, ""
}

// mean returns a sum divided by how many it is of, rounded half-even to as many decimals as a quantity has.
func mean(sum money.Decimal, n int64) money.Decimal {
	part, err := money.ParseRatio("1/" + strconv.FormatInt(n, 10))
	if err != nil { // of nothing
		return money.Decimal{}
	}
	return money.Linear(sum, part, money.Ratio{}, money.QtyPlaces)
}
