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
	rangeArguments = []Argument{{Name: "begin", Type: DateTime}, {Name: "end", Type: DateTime}}

	// what selects rules and scripts by their record
	recordArguments = []Argument{
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
	parentArguments = []Argument{
		{Name: "service_id", Type: UUID},
		{Name: "field_id", Type: UUID},
		{Name: "group_id", Type: UUID},
		{Name: "no_group", Type: Bool},
		{Name: "tenant_id"},
		{Name: "filter_tenant", Type: Bool},
	}
	// what a client sends back of a rule's or script's record, and nobody can change
	recordAttributes = []Argument{
		{Name: "created_at", Type: Ignored},
		{Name: "deleted", Type: Ignored},
		{Name: "created_by", Type: Ignored},
		{Name: "updated_by", Type: Ignored},
		{Name: "deleted_by", Type: Ignored},
	}
	ruleAttributes = []Argument{
		{Name: "cost", Type: Decimal, Required: true},
		{Name: "type", Type: Enum},
		{Name: "service_id", Type: UUID},
		{Name: "field_id", Type: UUID},
		{Name: "group_id", Type: UUID},
		{Name: "tenant_id"},
	}
	mappingAttributes = slices.Concat([]Argument{{Name: "mapping_id", Type: UUID}, {Name: "value"}}, ruleAttributes, validityAttributes, recordAttributes)

	validityAttributes  = []Argument{{Name: "start", Type: DateTime}, {Name: "end", Type: DateTime}, {Name: "name"}, {Name: "description"}}
	thresholdAttributes = slices.Concat([]Argument{{Name: "threshold_id", Type: UUID}, {Name: "level", Type: Decimal, Required: true}}, ruleAttributes)
	scriptAttributes    = slices.Concat([]Argument{
		{Name: "script_id", Type: UUID},
		{Name: "name", Required: true},
		{Name: "data"},
		{Name: "checksum", Type: Ignored},
		{Name: "start", Type: DateTime},
		{Name: "end", Type: DateTime},
		{Name: "description"},
	}, recordAttributes)
	collectorAttributes = []Argument{{Name: "name"}, {Name: "enabled", Type: Bool}}
)

// id is the argument that names what a request is about.
func id(name string) []Argument { return []Argument{{Name: name, Type: UUID, Required: true}} }

const moduleConfig = "rating:module_config"

// endpoints is all that the API answers.
var endpoints = slices.Concat(ratingEndpoints, hashmapEndpoints, scriptEndpoints, otherEndpoints)

var ratingEndpoints = []Endpoint{
	{
		Method: http.MethodGet, Paths: []string{"/rating/modules"}, Summary: "List the rating modules",
		Role: access.Viewer, Policy: "rating:list_modules", Status: http.StatusOK, answer: (*server).listModules,
	},
	{
		Method: http.MethodGet, Paths: []string{"/rating/modules/{module_id}"}, Summary: "Show a rating module",
		Arguments: []Argument{{Name: "module_id", Required: true}},
		Role:      access.Viewer, Policy: "rating:get_module", Status: http.StatusOK, answer: (*server).showModule,
	},
	{
		Method: http.MethodPut, Paths: []string{"/rating/modules/{module_id}", "/rating/modules"},
		Summary:   "Enable or disable a rating module, or change its priority",
		Arguments: []Argument{{Name: "module_id", Required: true}},
		Body: &Body{Name: "module", Attributes: []Argument{
			{Name: "module_id", Required: true},
			{Name: "enabled", Type: Bool},
			{Name: "priority", Type: Int},
			{Name: "description", Type: Ignored},
			{Name: "hot-config", Type: Ignored},
		}},
		Role: access.Operator, Policy: "rating:update_module", Status: http.StatusFound, answer: (*server).updateModule,
	},
	{
		Method: http.MethodGet, Paths: []string{"/rating/reload_modules"}, Summary: "Load the rating modules again, which they do anyway",
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusNoContent, answer: (*server).nothing,
	},
	{
		Method: http.MethodPost, Paths: []string{"/rating/quote"}, Summary: "Say what usage would cost",
		Body: &Body{Name: "res_data", Attributes: []Argument{{Name: "resources", Type: Resources, Required: true}}},
		Role: access.Tenant, Policy: "rating:quote", Status: http.StatusOK, answer: (*server).quote,
	},
	unconfigurable(http.MethodGet), unconfigurable(http.MethodPost), unconfigurable(http.MethodPut), unconfigurable(http.MethodDelete),
}

// unconfigurable is where the module noop would be configured.
func unconfigurable(method string) Endpoint {
	return Endpoint{
		Method: method, Paths: []string{"/rating/module_config/noop"}, Summary: "Say that there is nothing to configure",
		Role: access.Tenant, Policy: moduleConfig, Status: http.StatusConflict, answer: (*server).unconfigurable,
	}
}

var hashmapEndpoints = []Endpoint{
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/types"}, Summary: "List the types of rules",
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listTypes,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/services"}, Summary: "List the services",
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listServices,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/services/{service_id}"}, Summary: "Show a service", Arguments: id("service_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showService,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/services"}, Summary: "Make a service",
		Body: &Body{Name: "service_data", Attributes: []Argument{{Name: "service_id", Type: UUID}, {Name: "name", Required: true}}},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusCreated, answer: (*server).createService,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/services/{service_id}", hashmapPath + "/services"},
		Summary: "Delete a service with its fields and rules", Arguments: id("service_id"),
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusNoContent, answer: (*server).deleteService,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/fields"}, Summary: "List the fields of a service", Arguments: id("service_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listFields,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/fields/{field_id}"}, Summary: "Show a field", Arguments: id("field_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showField,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/fields"}, Summary: "Make a field",
		Body: &Body{Name: "field_data", Attributes: []Argument{
			{Name: "field_id", Type: UUID}, {Name: "name", Required: true}, {Name: "service_id", Type: UUID, Required: true},
		}},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusCreated, answer: (*server).createField,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/fields/{field_id}", hashmapPath + "/fields"},
		Summary: "Delete a field with its rules", Arguments: id("field_id"),
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusNoContent, answer: (*server).deleteField,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups"}, Summary: "List the groups",
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listGroups,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups/{group_id}"}, Summary: "Show a group", Arguments: id("group_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showGroup,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/groups"}, Summary: "Make a group",
		Body: &Body{Name: "group_data", Attributes: []Argument{{Name: "group_id", Type: UUID}, {Name: "name", Required: true}}},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusCreated, answer: (*server).createGroup,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/groups/{group_id}", hashmapPath + "/groups"},
		Summary:   "Delete a group; its rules have none then, or go too",
		Arguments: append(id("group_id"), Argument{Name: "recursive", Type: Bool}),
		Role:      access.Operator, Policy: moduleConfig, Status: http.StatusNoContent, answer: (*server).deleteGroup,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups/{group_id}/mappings", hashmapPath + "/groups/mappings"},
		Summary: "List the mappings of a group", Arguments: id("group_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listMappings,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/groups/{group_id}/thresholds", hashmapPath + "/groups/thresholds"},
		Summary: "List the thresholds of a group", Arguments: id("group_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listThresholds,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/mappings"}, Summary: "List mappings",
		Arguments: slices.Concat(parentArguments, recordArguments, []Argument{{Name: "all", Type: Bool}}),
		Role:      access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listMappings,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/mappings/{mapping_id}"}, Summary: "Show a mapping, also one that was deleted",
		Arguments: id("mapping_id"),
		Role:      access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showMapping,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/mappings/{mapping_id}/group", hashmapPath + "/mappings/group"},
		Summary: "Show the group of a mapping", Arguments: id("mapping_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showMappingGroup,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/mappings"}, Summary: "Make a mapping; force allows a start in the past",
		Arguments: []Argument{{Name: "force", Type: Bool}}, Body: &Body{Name: "mapping_data", Attributes: mappingAttributes},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusCreated, answer: (*server).createMapping,
	},
	{
		Method: http.MethodPut, Paths: []string{hashmapPath + "/mappings/{mapping_id}", hashmapPath + "/mappings"},
		Summary:   "Change a mapping, or, if it has priced something, its end",
		Arguments: id("mapping_id"), Body: &Body{Name: "mapping", Attributes: mappingAttributes},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusFound, answer: (*server).updateMapping,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/mappings/{mapping_id}", hashmapPath + "/mappings"},
		Summary: "Delete a mapping", Arguments: id("mapping_id"),
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusNoContent, answer: (*server).deleteMapping,
	},

	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/thresholds"}, Summary: "List the thresholds of a service, field or group",
		Arguments: parentArguments,
		Role:      access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listThresholds,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/thresholds/{threshold_id}"}, Summary: "Show a threshold", Arguments: id("threshold_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showThreshold,
	},
	{
		Method: http.MethodGet, Paths: []string{hashmapPath + "/thresholds/{threshold_id}/group", hashmapPath + "/thresholds/group"},
		Summary: "Show the group of a threshold", Arguments: id("threshold_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showThresholdGroup,
	},
	{
		Method: http.MethodPost, Paths: []string{hashmapPath + "/thresholds"}, Summary: "Make a threshold",
		Body: &Body{Name: "threshold_data", Attributes: thresholdAttributes},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusCreated, answer: (*server).createThreshold,
	},
	{
		Method: http.MethodPut, Paths: []string{hashmapPath + "/thresholds/{threshold_id}", hashmapPath + "/thresholds"}, Summary: "Change a threshold",
		Arguments: id("threshold_id"), Body: &Body{Name: "threshold", Attributes: thresholdAttributes},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusFound, answer: (*server).updateThreshold,
	},
	{
		Method: http.MethodDelete, Paths: []string{hashmapPath + "/thresholds/{threshold_id}", hashmapPath + "/thresholds"},
		Summary: "Delete a threshold", Arguments: id("threshold_id"),
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusNoContent, answer: (*server).deleteThreshold,
	},
}

var scriptEndpoints = []Endpoint{
	{
		Method: http.MethodGet, Paths: []string{scriptsPath}, Summary: "List scripts, with their texts or without",
		Arguments: append([]Argument{{Name: "no_data", Type: Bool}}, recordArguments...),
		Role:      access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).listScripts,
	},
	{
		Method: http.MethodGet, Paths: []string{scriptsPath + "/{script_id}"}, Summary: "Show a script", Arguments: id("script_id"),
		Role: access.Viewer, Policy: moduleConfig, Status: http.StatusOK, answer: (*server).showScript,
	},
	{
		Method: http.MethodPost, Paths: []string{scriptsPath}, Summary: "Make a script; force allows a start in the past",
		Arguments: []Argument{{Name: "force", Type: Bool}}, Body: &Body{Name: "script_data", Attributes: scriptAttributes},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusCreated, answer: (*server).createScript,
	},
	{
		Method: http.MethodPut, Paths: []string{scriptsPath + "/{script_id}", scriptsPath},
		Summary:   "Change a script, or, if it has priced something, its end",
		Arguments: id("script_id"), Body: &Body{Name: "script_data", Attributes: scriptAttributes},
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusCreated, answer: (*server).updateScript,
	},
	{
		Method: http.MethodDelete, Paths: []string{scriptsPath + "/{script_id}", scriptsPath}, Summary: "Delete a script", Arguments: id("script_id"),
		Role: access.Operator, Policy: moduleConfig, Status: http.StatusNoContent, answer: (*server).deleteScript,
	},
}

var otherEndpoints = []Endpoint{
	{
		Method: http.MethodGet, Paths: []string{"/collector"}, Summary: "Say nothing",
		Role: access.Viewer, Policy: "collector:list_mappings", Status: http.StatusNoContent, answer: (*server).nothing,
	},
	{
		Method: http.MethodGet, Paths: []string{"/collector/mappings"}, Summary: "List which collectors services were assigned to",
		Arguments: []Argument{{Name: "collector"}},
		Role:      access.Viewer, Policy: "collector:list_mappings", Status: http.StatusOK, answer: (*server).listCollectorMappings,
	},
	{
		Method: http.MethodGet, Paths: []string{"/collector/mappings/{service}"}, Summary: "Show which collector a service was assigned to",
		Arguments: []Argument{{Name: "service", Required: true}},
		Role:      access.Viewer, Policy: "collector:get_mapping", Status: http.StatusOK, answer: (*server).showCollectorMapping,
	},
	{
		Method: http.MethodPost, Paths: []string{"/collector/mappings/{collector}/{service}", "/collector/mappings"},
		Summary:   "Assign a service to a collector, on which nothing depends",
		Arguments: []Argument{{Name: "collector", Required: true}, {Name: "service", Required: true}},
		Role:      access.Operator, Policy: "collector:manage_mapping", Status: http.StatusOK, answer: (*server).setCollectorMapping,
	},
	{
		Method: http.MethodDelete, Paths: []string{"/collector/mappings/{service}", "/collector/mappings"},
		Summary: "Forget which collector a service was assigned to", Arguments: []Argument{{Name: "service", Required: true}},
		Role: access.Operator, Policy: "collector:manage_mapping", Status: http.StatusNoContent, answer: (*server).deleteCollectorMapping,
	},
	{
		Method: http.MethodGet, Paths: []string{"/collector/states/{name}", "/collector/{name}/states", "/collector/states"},
		Summary: "Say whether a collector is called enabled", Arguments: []Argument{{Name: "name", Required: true}},
		Role: access.Viewer, Policy: "collector:get_state", Status: http.StatusOK, answer: (*server).showCollectorState,
	},
	{
		Method: http.MethodPut, Paths: []string{"/collector/states/{name}", "/collector/{name}/states", "/collector/states"},
		Summary:   "Call a collector enabled or disabled, on which nothing depends",
		Arguments: []Argument{{Name: "name", Required: true}}, Body: &Body{Name: "infos", Attributes: collectorAttributes},
		Role: access.Operator, Policy: "collector:update_state", Status: http.StatusOK, answer: (*server).setCollectorState,
	},

	{
		Method: http.MethodGet, Paths: []string{"/info/metrics", "/info/services"}, Summary: "List the metrics",
		Role: access.Tenant, Policy: "info:list_metrics_info", Status: http.StatusOK, answer: (*server).listMetrics,
	},
	{
		Method: http.MethodGet, Paths: []string{"/info/metrics/{metric_name}"}, Summary: "Show a metric",
		Arguments: []Argument{{Name: "metric_name", Required: true}},
		Role:      access.Tenant, Policy: "info:get_metric_info", Status: http.StatusOK, answer: (*server).showMetric,
	},
	{
		Method: http.MethodGet, Paths: []string{"/info/services/{service_name}"}, Summary: "Show a metric",
		Arguments: []Argument{{Name: "service_name", Required: true}},
		Role:      access.Tenant, Policy: "info:get_metric_info", Status: http.StatusOK, answer: (*server).showMetric,
	},
	{
		Method: http.MethodGet, Paths: []string{"/info/config"}, Summary: "Show the configuration of the metrics",
		Role: access.Tenant, Policy: "info:get_config", Status: http.StatusOK, answer: (*server).showConfig,
	},

	{
		Method: http.MethodGet, Paths: []string{"/report/tenants"}, Summary: "List who is charged", Arguments: rangeArguments,
		Role: access.Viewer, Policy: "report:list_tenants", Status: http.StatusOK, answer: (*server).listTenants,
	},
	{
		Method: http.MethodGet, Paths: []string{"/report/total"}, Summary: "Sum charges",
		Arguments: slices.Concat(rangeArguments, []Argument{{Name: "tenant_id"}, {Name: "service"}, {Name: "all_tenants", Type: Bool}}),
		Role:      access.Tenant, Policy: "report:get_total", Status: http.StatusOK, answer: (*server).total,
	},
	{
		Method: http.MethodGet, Paths: []string{"/report/summary"}, Summary: "Sum charges by tenant and metric",
		Arguments: slices.Concat(rangeArguments, []Argument{
			{Name: "tenant_id"}, {Name: "service"}, {Name: "groupby"}, {Name: "all_tenants", Type: Bool},
		}),
		Role: access.Tenant, Policy: "report:get_summary", Status: http.StatusOK, answer: (*server).summary,
	},
	{
		Method: http.MethodGet, Paths: []string{"/storage/dataframes"}, Summary: "List rated data points",
		Arguments: slices.Concat(rangeArguments, []Argument{{Name: "tenant_id"}, {Name: "resource_type"}}),
		Role:      access.Tenant, Policy: "storage:list_data_frames", Status: http.StatusOK, answer: (*server).dataFrames,
	},
}
