package v1

import (
	"net/http"
	"slices"

	"ratebook/access"
)

// Where modules are configured.
const (
	hashmapPath = "/rating/module_config/hashmap"
	scriptsPath = "/rating/module_config/pyscripts/scripts"
)

// What many endpoints have in common.
var (
	rangeArguments = []argument{{Name: "begin", Type: DateTime}, {Name: "end", Type: DateTime}}

	// what selects rules and scripts by their record
	recordArguments = []argument{
		{Name: "deleted", Type: Bool},
		{Name: "start", Type: DateTime},
		{Name: "end", Type: DateTime},
		{Name: "updated_by"},
		{Name: "created_by"},
		{Name: "deleted_by"},
		{Name: "description"},
		{Name: "is_active", Type: Moment},
	}
	// what selects rules by what they belong to
	parentArguments = []argument{
		{Name: "service_id", Type: UUID},
		{Name: "field_id", Type: UUID},
		{Name: "group_id", Type: UUID},
		{Name: "no_group", Type: Bool},
		{Name: "tenant_id"},
		{Name: "filter_tenant", Type: Bool},
	}
	// what a client sends back of a rule's or script's record, and nobody can change
	recordAttributes = []argument{
		{Name: "created_at", Type: Ignored},
		{Name: "deleted", Type: Ignored},
		{Name: "created_by", Type: Ignored},
		{Name: "updated_by", Type: Ignored},
		{Name: "deleted_by", Type: Ignored},
	}
	ruleAttributes = []argument{
		{Name: "cost", Type: Decimal, Required: true},
		{Name: "type", Type: Enum},
		{Name: "service_id", Type: UUID},
		{Name: "field_id", Type: UUID},
		{Name: "group_id", Type: UUID},
		{Name: "tenant_id"},
	}
	mappingAttributes = slices.Concat([]argument{{Name: "mapping_id", Type: UUID}, {Name: "value"}}, ruleAttributes, validityAttributes, recordAttributes)

	validityAttributes  = []argument{{Name: "start", Type: DateTime}, {Name: "end", Type: DateTime}, {Name: "name"}, {Name: "description"}}
	thresholdAttributes = slices.Concat([]argument{{Name: "threshold_id", Type: UUID}, {Name: "level", Type: Decimal, Required: true}}, ruleAttributes)
	scriptAttributes    = slices.Concat([]argument{
		{Name: "script_id", Type: UUID},
		{Name: "name", Required: true},
		{Name: "data"},
		{Name: "checksum", Type: Ignored},
		{Name: "start", Type: DateTime},
		{Name: "end", Type: DateTime},
		{Name: "description"},
	}, recordAttributes)
	collectorAttributes = []argument{{Name: "name"}, {Name: "enabled", Type: Bool}}
)

// id is the argument that names what a request is about.
func id(name string) []argument { return []argument{{Name: name, Type: UUID, Required: true}} }

const moduleConfig = "rating:module_config"

// endpoints is all that the API answers.
var endpoints = slices.Concat(ratingEndpoints, hashmapEndpoints, scriptEndpoints, otherEndpoints)

var ratingEndpoints = []endpoint{
	{
		Method: http.MethodGet, Paths: []string{"/rating/modules"},
		Role: access.Viewer, Policy: "rating:list_modules", answer: (*server).listModules,
	},
	{
		Method: http.MethodGet, Paths: []string{"/rating/modules/{module_id}"},
		Arguments: []argument{{Name: "module_id", Required: true}},
		Role:      access.Viewer, Policy: "rating:get_module", answer: (*server).showModule,
	},
	{
		Method: http.MethodPut, Paths: []string{"/rating/modules/{module_id}", "/rating/modules"},
		Arguments: []argument{{Name: "module_id", Required: true}},
		Body: &content{Name: "module", Attributes: []argument{
			{Name: "module_id", Required: true},
			{Name: "enabled", Type: Bool},
			{Name: "priority", Type: Int},
			{Name: "description", Type: Ignored},
			{Name: "hot-config", Type: Ignored},
		}},
		Role: access.Operator, Policy: "rating:update_module", answer: (*server).updateModule,
	},
	{
		Method: http.MethodGet, Paths: []string{"/rating/reload_modules"},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).nothing,
	},
	{
		Method: http.MethodPost, Paths: []string{"/rating/quote"},
		Body: &content{Name: "res_data", Attributes: []argument{{Name: "resources", Type: Resources, Required: true}}},
		Role: access.Tenant, Policy: "rating:quote", answer: (*server).quote,
	},
	unconfigurable(http.MethodGet), unconfigurable(http.MethodPost), unconfigurable(http.MethodPut), unconfigurable(http.MethodDelete),
}

// unconfigurable is where the module noop would be configured.
func unconfigurable(method string) endpoint {
	return endpoint{
		Method: method, Paths: []string{"/rating/module_config/noop"},
		Role: access.Tenant, Policy: moduleConfig, answer: (*server).unconfigurable,
	}
}

var hashmapEndpoints = []endpoint{
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/types"},
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).listTypes,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/services"},
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).listServices,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/services/{service_id}"}, Arguments: id("service_id"),
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).showService,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/services"},
		Body: &content{Name: "service_data", Attributes: []argument{{Name: "service_id", Type: UUID}, {Name: "name", Required: true}}},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).createService,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/services/{service_id}", hashmapPath + "/services"},
		Arguments: id("service_id"),
		Role:      access.Operator, Policy: moduleConfig, answer: (*server).deleteService,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/fields"}, Arguments: id("service_id"),
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).listFields,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/fields/{field_id}"}, Arguments: id("field_id"),
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).showField,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/fields"},
		Body: &content{Name: "field_data", Attributes: []argument{
			{Name: "field_id", Type: UUID}, {Name: "name", Required: true}, {Name: "service_id", Type: UUID, Required: true},
		}},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).createField,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/fields/{field_id}", hashmapPath + "/fields"},
		Arguments: id("field_id"),
		Role:      access.Operator, Policy: moduleConfig, answer: (*server).deleteField,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups"},
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).listGroups,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups/{group_id}"}, Arguments: id("group_id"),
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).showGroup,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/groups"},
		Body: &content{Name: "group_data", Attributes: []argument{{Name: "group_id", Type: UUID}, {Name: "name", Required: true}}},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).createGroup,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/groups/{group_id}", hashmapPath + "/groups"},
		Arguments: append(id("group_id"), argument{Name: "recursive", Type: Bool}),
		Role:      access.Operator, Policy: moduleConfig, answer: (*server).deleteGroup,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups/{group_id}/mappings", hashmapPath + "/groups/mappings"},
		Arguments: id("group_id"),
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).listMappings,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups/{group_id}/thresholds", hashmapPath + "/groups/thresholds"},
		Arguments: id("group_id"),
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).listThresholds,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/mappings"},
		Arguments: slices.Concat(parentArguments, recordArguments, []argument{{Name: "all", Type: Bool}}),
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).listMappings,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/mappings/{mapping_id}"},
		Arguments: id("mapping_id"),
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).showMapping,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/mappings/{mapping_id}/group", hashmapPath + "/mappings/group"},
		Arguments: id("mapping_id"),
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).showMappingGroup,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/mappings"},
		Arguments: []argument{{Name: "force", Type: Bool}}, Body: &content{Name: "mapping_data", Attributes: mappingAttributes},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).createMapping,
	},
	{
		Method: http.MethodPut, Paths: []string{hashmapPath + "/mappings/{mapping_id}", hashmapPath + "/mappings"},
		Arguments: id("mapping_id"), Body: &content{Name: "mapping", Attributes: mappingAttributes},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).updateMapping,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/mappings/{mapping_id}", hashmapPath + "/mappings"},
		Arguments: id("mapping_id"),
		Role:      access.Operator, Policy: moduleConfig, answer: (*server).deleteMapping,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/thresholds"},
		Arguments: parentArguments,
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).listThresholds,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/thresholds/{threshold_id}"}, Arguments: id("threshold_id"),
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).showThreshold,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/thresholds/{threshold_id}/group", hashmapPath + "/thresholds/group"},
		Arguments: id("threshold_id"),
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).showThresholdGroup,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/thresholds"},
		Body: &content{Name: "threshold_data", Attributes: thresholdAttributes},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).createThreshold,
	},
	{
		Method: http.MethodPut, Paths: []string{hashmapPath + "/thresholds/{threshold_id}", hashmapPath + "/thresholds"},
		Arguments: id("threshold_id"), Body: &content{Name: "threshold", Attributes: thresholdAttributes},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).updateThreshold,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/thresholds/{threshold_id}", hashmapPath + "/thresholds"},
		Arguments: id("threshold_id"),
		Role:      access.Operator, Policy: moduleConfig, answer: (*server).deleteThreshold,
	},
}

var scriptEndpoints = []endpoint{
	{
		Method: http.MethodGet, Paths: []string{scriptsPath},
		Arguments: append([]argument{{Name: "no_data", Type: Bool}}, recordArguments...),
		Role:      access.Viewer, Policy: moduleConfig, answer: (*server).listScripts,
	},
	{
		Method: http.MethodGet, Paths: []string{scriptsPath + "/{script_id}"}, Arguments: id("script_id"),
		Role: access.Viewer, Policy: moduleConfig, answer: (*server).showScript,
	},
	{
		Method: http.MethodPost, Paths: []string{scriptsPath},
		Arguments: []argument{{Name: "force", Type: Bool}}, Body: &content{Name: "script_data", Attributes: scriptAttributes},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).createScript,
	},
	{
		Method: http.MethodPut, Paths: []string{scriptsPath + "/{script_id}", scriptsPath},
		Arguments: id("script_id"), Body: &content{Name: "script_data", Attributes: scriptAttributes},
		Role: access.Operator, Policy: moduleConfig, answer: (*server).updateScript,
	},
	{
		Method: http.MethodDelete, Paths: []string{scriptsPath + "/{script_id}", scriptsPath}, Arguments: id("script_id"),
		Role: access.Operator, Policy: moduleConfig, answer: (*server).deleteScript,
	},
}

var otherEndpoints = []endpoint{
	{
		Method: http.MethodGet, Paths: []string{"/collector"},
		Role: access.Viewer, Policy: "collector:list_mappings", answer: (*server).nothing,
	},
	{
		Method: http.MethodGet, Paths: []string{"/collector/mappings"},
		Arguments: []argument{{Name: "collector"}},
		Role:      access.Viewer, Policy: "collector:list_mappings", answer: (*server).listCollectorMappings,
	},
	{
		Method: http.MethodGet, Paths: []string{"/collector/mappings/{service}"},
		Arguments: []argument{{Name: "service", Required: true}},
		Role:      access.Viewer, Policy: "collector:get_mapping", answer: (*server).showCollectorMapping,
	},
	{
		Method: http.MethodPost, Paths: []string{"/collector/mappings/{collector}/{service}", "/collector/mappings"},
		Arguments: []argument{{Name: "collector", Required: true}, {Name: "service", Required: true}},
		Role:      access.Operator, Policy: "collector:manage_mapping", answer: (*server).setCollectorMapping,
	},
	{
		Method: http.MethodDelete, Paths: []string{"/collector/mappings/{service}", "/collector/mappings"},
		Arguments: []argument{{Name: "service", Required: true}},
		Role:      access.Operator, Policy: "collector:manage_mapping", answer: (*server).deleteCollectorMapping,
	},
	{
		Method: http.MethodGet, Paths: []string{"/collector/states/{name}", "/collector/{name}/states", "/collector/states"},
		Arguments: []argument{{Name: "name", Required: true}},
		Role:      access.Viewer, Policy: "collector:get_state", answer: (*server).showCollectorState,
	},
	{
		Method: http.MethodPut, Paths: []string{"/collector/states/{name}", "/collector/{name}/states", "/collector/states"},
		Arguments: []argument{{Name: "name", Required: true}}, Body: &content{Name: "infos", Attributes: collectorAttributes},
		Role: access.Operator, Policy: "collector:update_state", answer: (*server).setCollectorState,
	},

	{
		Method: http.MethodGet, Paths: []string{"/info/metrics", "/info/services"},
		Role: access.Tenant, Policy: "info:list_metrics_info", answer: (*server).listMetrics,
	},
	{
		Method: http.MethodGet, Paths: []string{"/info/metrics/{metric_name}"},
		Arguments: []argument{{Name: "metric_name", Required: true}},
		Role:      access.Tenant, Policy: "info:get_metric_info", answer: (*server).showMetric,
	},
	{
		Method: http.MethodGet, Paths: []string{"/info/services/{service_name}"},
		Arguments: []argument{{Name: "service_name", Required: true}},
		Role:      access.Tenant, Policy: "info:get_metric_info", answer: (*server).showMetric,
	},
	{
		Method: http.MethodGet, Paths: []string{"/info/config"},
		Role: access.Tenant, Policy: "info:get_config", answer: (*server).showConfig,
	},

	{
		Method: http.MethodGet, Paths: []string{"/report/tenants"}, Arguments: rangeArguments,
		Role: access.Viewer, Policy: "report:list_tenants", answer: (*server).listTenants,
	},
	{
		Method: http.MethodGet, Paths: []string{"/report/total"},
		Arguments: slices.Concat(rangeArguments, []argument{{Name: "tenant_id"}, {Name: "service"}, {Name: "all_tenants", Type: Bool}}),
		Role:      access.Tenant, Policy: "report:get_total", answer: (*server).total,
	},
	{
		Method: http.MethodGet, Paths: []string{"/report/summary"},
		Arguments: slices.Concat(rangeArguments, []argument{
			{Name: "tenant_id"}, {Name: "service"}, {Name: "groupby"}, {Name: "all_tenants", Type: Bool},
		}),
		Role: access.Tenant, Policy: "report:get_summary", answer: (*server).summary,
	},
	{
		Method: http.MethodGet, Paths: []string{"/storage/dataframes"},
		Arguments: slices.Concat(rangeArguments, []argument{{Name: "tenant_id"}, {Name: "resource_type"}}),
		Role:      access.Tenant, Policy: "storage:list_data_frames", answer: (*server).dataFrames,
	},
}
