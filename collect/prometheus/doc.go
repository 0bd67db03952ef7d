// Package prometheus collects usage and finds scopes over the HTTP API of Prometheus, or of a server that speaks it
// (Thanos, Mimir, VictoriaMetrics).
//
// [Query] builds the question as CloudKitty does: one metric, one scope, one window, asked as an instant query at the
// window's end. [Collector] asks range queries over many scopes and windows instead, which give the same values with far
// fewer requests. An answer is either complete or an error; what it contains that is no quantity (NaN, infinities,
// histograms) is left out with a finding.
//
// Quantities are parsed from the server's text straight into exact decimals. Errors are [fault.Error]s for an operator;
// those that a smaller question may avoid wrap [metering.ErrTooMuch]. They never contain credentials.
package prometheus
