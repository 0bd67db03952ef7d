package demo

// tenant is a scope: who it is and what it runs. Everything is told apart by names, so that a change of one leaves others alone.
type tenant struct {
	id, name   string
	curve      *curve
	fleets     []fleet
	buckets    []bucket
	partitions []partition
	// A tenant with seasons is there for season hours from seasonFrom hours into each cycle of five weeks, else always.
	seasonFrom, season int64
}

// fleet is instances that are alike, and what comes with each.
type fleet struct {
	name, project, flavor string
	count                 int
	rhythm                rhythm
	days                  int64  // from one instance to its successor; 0: it stays
	test                  bool   // the environment, production if not
	image                 string // Debian if empty
	region                string // eu-central if empty
	ssd, hdd              int64  // GiB of a volume, at first
	growth                int64  // GiB that the volume grows in a day
	traffic               int64  // MB an hour to the internet, at the busiest
	research              int64  // the same to the research network
	ip                    bool   // whether it has a floating IP
	gpus                  int64
	model                 string // of the GPUs
}

// bucket is object storage.
type bucket struct {
	name, project, class, region string
	size, growth                 int64 // GiB at first, and in a day
}

// partition is a part of the batch system that a project computes on.
type partition struct {
	name, project string
	nodes         int64 // at the most
}

const (
	north = "eu-north"
	south = "eu-south"
)

// genomics has a price of its own in rules.yml.
const genomics = "3f6d1c0e-8a54-4b7e-9d21-5c0be17a42f3"

// The catalogue.
var tenants = []tenant{
	{
		id: genomics, name: "Genomics", curve: &measuring,
		fleets: []fleet{
			{name: "sequencer-gw", project: "sequencing", flavor: "m1.large", count: 2, ssd: 500, growth: 2, research: 42_000, ip: true},
			{name: "basecall", project: "sequencing", flavor: "g1.host", count: 2, gpus: 1, model: "a100", ssd: 800, rhythm: nightly},
			{name: "caller", project: "variants", flavor: "c1.4xlarge", count: 6, rhythm: bursty, days: 9, ssd: 600, traffic: 300},
			{name: "assembly", project: "assembly", flavor: "r1.4xlarge", count: 3, hdd: 6000, growth: 25},
			{name: "notebook", project: "variants", flavor: "m1.xlarge", count: 4, rhythm: office, days: 30, ssd: 150, ip: true},
		},
		buckets: []bucket{
			{name: "raw-reads", project: "sequencing", class: "standard", size: 58_000, growth: 210},
			{name: "reads-archive", project: "sequencing", class: "archive", region: north, size: 210_000, growth: 350},
			{name: "references", project: "variants", class: "standard", size: 4_200, growth: 3},
			{name: "published", project: "assembly", class: "standard", size: 9_500, growth: 20},
		},
	},
	{
		id: "a1c95b82-07de-4f3a-b6c8-e2f0947d1b65", name: "Climate Modelling", curve: &measuring,
		fleets: []fleet{
			{name: "preprocess", project: "reanalysis", flavor: "r1.4xlarge", count: 2, region: north, hdd: 8000, growth: 30, research: 18_000},
			{name: "ensemble", project: "forecast", flavor: "c1.4xlarge", count: 5, rhythm: nightly, days: 21, region: north, hdd: 2000},
			{name: "viewer", project: "outreach", flavor: "m1.large", count: 2, region: north, ssd: 100, traffic: 2_600, ip: true},
			{name: "notebook", project: "reanalysis", flavor: "m1.xlarge", count: 3, rhythm: office, days: 40, region: north, ssd: 120},
		},
		buckets: []bucket{
			{name: "era-mirror", project: "reanalysis", class: "standard", region: north, size: 46_000, growth: 60},
			{name: "ensemble-runs", project: "forecast", class: "standard", region: north, size: 21_000, growth: 240},
			{name: "runs-archive", project: "forecast", class: "archive", region: north, size: 160_000, growth: 400},
		},
		partitions: []partition{{"standard", "forecast", 12}, {"standard", "reanalysis", 6}, {"bigmem", "reanalysis", 3}},
	},
	{
		id: "5e0b7d49-c2f1-4e86-8f3d-71a6d40c9e28", name: "High-Performance Computing", curve: &working,
		fleets: []fleet{
			{name: "login", project: "service", flavor: "m1.2xlarge", count: 3, ssd: 400, research: 6_500, ip: true},
			{name: "scheduler", project: "service", flavor: "m1.xlarge", count: 2, ssd: 200},
			{name: "compile", project: "service", flavor: "c1.4xlarge", count: 2, rhythm: office, ssd: 300},
			{name: "monitoring", project: "service", flavor: "m1.large", count: 1, ssd: 900, growth: 4, test: true},
		},
		buckets: []bucket{
			{name: "scratch-export", project: "service", class: "standard", size: 12_000, growth: 90},
			{name: "home-backup", project: "service", class: "archive", region: north, size: 95_000, growth: 120},
		},
		partitions: []partition{
			{"standard", "fluid-dynamics", 20},
			{"standard", "materials", 18},
			{"standard", "astrophysics", 16},
			{"standard", "chemistry", 14},
			{"standard", "lattice-qcd", 18},
			{"bigmem", "chemistry", 6},
			{"bigmem", "neuroscience", 5},
			{"short", "fluid-dynamics", 4},
			{"short", "materials", 4},
			{"short", "teaching", 2},
		},
	},
	{
		id: "c84f2a17-6b93-4d0c-a5e7-093d8be6f154", name: "Machine Learning Lab", curve: &working,
		fleets: []fleet{
			{name: "train", project: "language-models", flavor: "g1.host", count: 2, rhythm: bursty, days: 14, gpus: 4, model: "h100", ssd: 2000},
			{name: "tune", project: "vision", flavor: "g1.host", count: 2, rhythm: bursty, days: 6, gpus: 2, model: "a100", ssd: 1000, region: south},
			{name: "notebook", project: "vision", flavor: "g1.host", count: 4, rhythm: office, days: 25, gpus: 1, model: "l40s", ssd: 250, ip: true},
			{name: "inference", project: "language-models", flavor: "m1.2xlarge", count: 3, rhythm: elastic, traffic: 1_900, ip: true},
			{name: "trial", project: "language-models", flavor: "x1.preview", count: 1, rhythm: nightly, days: 18, test: true},
		},
		buckets: []bucket{
			{name: "datasets", project: "vision", class: "standard", size: 27_000, growth: 45},
			{name: "checkpoints", project: "language-models", class: "standard", size: 13_000, growth: 160},
		},
	},
	{
		id: "90d7e3b4-1f68-4a2b-b0c5-d4682fa9e731", name: "Medical Imaging", curve: &working,
		fleets: []fleet{
			{name: "segment", project: "radiology", flavor: "g1.host", count: 2, gpus: 1, model: "l40s", ssd: 1200, growth: 3},
			{name: "pacs", project: "radiology", flavor: "r1.4xlarge", count: 2, image: "windows-2022", hdd: 12_000, growth: 40, research: 9_000, ip: true},
			{name: "anonymise", project: "studies", flavor: "m1.xlarge", count: 4, rhythm: elastic, ssd: 150},
			{name: "viewer", project: "radiology", flavor: "m1.large", count: 3, rhythm: elastic, image: "windows-2022", ssd: 100, traffic: 800},
			{name: "registry", project: "studies", flavor: "m1.large", count: 2, ssd: 400, growth: 1, ip: true},
		},
		buckets: []bucket{
			{name: "studies", project: "studies", class: "standard", size: 24_000, growth: 70},
			{name: "studies-archive", project: "studies", class: "archive", region: north, size: 70_000, growth: 90},
		},
	},
	{
		id: "2b5e98f0-d347-4c61-9a8e-6f13c07be5d9", name: "Central Administration", curve: &working,
		fleets: []fleet{
			{name: "erp", project: "finance", flavor: "m1.2xlarge", count: 2, image: "windows-2022", ssd: 800, growth: 1},
			{name: "erp-test", project: "finance", flavor: "m1.xlarge", count: 2, rhythm: office, test: true, image: "windows-2022", ssd: 400},
			{name: "directory", project: "identity", flavor: "m1.large", count: 3, image: "windows-2022", ssd: 120},
			{name: "mail", project: "mail", flavor: "m1.xlarge", count: 3, ssd: 1500, growth: 3, traffic: 5_200, ip: true},
			{name: "terminal", project: "finance", flavor: "m1.xlarge", count: 4, rhythm: elastic, days: 60, image: "windows-2022", ssd: 100},
		},
		buckets: []bucket{
			{name: "backup", project: "finance", class: "archive", region: north, size: 38_000, growth: 60},
			{name: "mail-archive", project: "mail", class: "standard", size: 6_500, growth: 14},
		},
	},
	{
		id: "e7a20c5d-94b8-4631-8d7f-1be5c3f06a92", name: "Web Services", curve: &studying,
		fleets: []fleet{
			{name: "balancer", project: "platform", flavor: "s1.medium", count: 2, ip: true, traffic: 46_000},
			{name: "frontend", project: "website", flavor: "m1.large", count: 8, rhythm: elastic, days: 12, traffic: 3_400},
			{name: "database", project: "platform", flavor: "r1.4xlarge", count: 2, ssd: 1600, growth: 4},
			{name: "staging", project: "website", flavor: "s1.medium", count: 3, rhythm: office, test: true, ssd: 60, ip: true},
			{name: "chat", project: "chat", flavor: "m1.xlarge", count: 2, ssd: 500, growth: 3, traffic: 2_800, ip: true},
		},
		buckets: []bucket{
			{name: "media", project: "website", class: "standard", size: 7_800, growth: 18},
			{name: "backup", project: "platform", class: "archive", region: north, size: 12_000, growth: 25},
		},
	},
	{
		id: "7d16f4c9-5ae2-4b08-9f71-a83c6e0d25b7", name: "Learning Platform", curve: &studying,
		fleets: []fleet{
			{name: "moodle", project: "courses", flavor: "m1.xlarge", count: 6, rhythm: elastic, days: 15, traffic: 7_600},
			{name: "database", project: "courses", flavor: "m1.2xlarge", count: 2, ssd: 900, growth: 3},
			{name: "conference", project: "video", flavor: "c1.4xlarge", count: 4, rhythm: office, days: 20, traffic: 16_000, ip: true},
			{name: "encoder", project: "video", flavor: "c1.4xlarge", count: 2, rhythm: nightly, ssd: 400, region: north},
			{name: "exam", project: "exams", flavor: "m1.large", count: 3, rhythm: elastic, test: true, ssd: 80},
		},
		buckets: []bucket{
			{name: "lectures", project: "video", class: "standard", size: 31_000, growth: 110},
			{name: "courses", project: "courses", class: "standard", size: 3_900, growth: 9},
		},
	},
	{
		id: "18f3ba6e-e0c7-4295-b3d4-4c97d25a80f1", name: "Digital Library", curve: &studying,
		fleets: []fleet{
			{name: "catalogue", project: "catalogue", flavor: "m1.large", count: 3, rhythm: elastic, traffic: 1_500, ip: true},
			{name: "repository", project: "repository", flavor: "m1.xlarge", count: 2, hdd: 4000, growth: 6, traffic: 5_900, research: 7_000, ip: true},
			{name: "ocr", project: "digitisation", flavor: "c1.4xlarge", count: 3, rhythm: nightly, days: 25, hdd: 800, region: south},
			{name: "index", project: "catalogue", flavor: "m1.xlarge", count: 2, ssd: 700, growth: 1},
		},
		buckets: []bucket{
			{name: "scans", project: "digitisation", class: "standard", region: south, size: 19_000, growth: 55},
			{name: "theses", project: "repository", class: "standard", size: 2_300, growth: 4},
			{name: "preservation", project: "repository", class: "archive", region: north, size: 88_000, growth: 60},
		},
	},
	{
		id: "f24c8d73-3b9f-4170-a6e1-d05be8914ac6", name: "Student Projects", curve: &studying,
		fleets: []fleet{
			{name: "sandbox", project: "sandbox", flavor: "s1.small", count: 12, days: 8, test: true, ssd: 20},
			{name: "team", project: "teams", flavor: "s1.medium", count: 6, days: 33, ssd: 40, traffic: 90, ip: true},
			{name: "thesis", project: "theses", flavor: "m1.large", count: 3, days: 45, ssd: 100, growth: 1},
			{name: "preview", project: "sandbox", flavor: "x1.preview", count: 1, rhythm: office, days: 12, test: true},
		},
		buckets: []bucket{{name: "submissions", project: "teams", class: "standard", size: 900, growth: 6}},
	},
	{
		id: "64b9e01f-a7d5-4e3c-8c20-b91f7d6a35e8", name: "Observatory Campaign", curve: &measuring,
		seasonFrom: 0, season: 18 * day,
		fleets: []fleet{
			{name: "ingest", project: "survey", flavor: "m1.xlarge", count: 3, region: south, ssd: 600, growth: 8, research: 24_000, ip: true},
			{name: "reduce", project: "survey", flavor: "c1.4xlarge", count: 6, rhythm: nightly, days: 6, region: south, hdd: 1500},
			{name: "alert", project: "transients", flavor: "m1.large", count: 2, region: south, ssd: 50, traffic: 60, ip: true},
		},
		buckets: []bucket{
			{name: "frames", project: "survey", class: "standard", region: south, size: 1_500, growth: 900},
			{name: "catalogue", project: "transients", class: "standard", region: south, size: 120, growth: 15},
		},
	},
	{
		id: "b30a76d8-4e1c-4f95-92b7-c58d0ef21a6b", name: "Robotics Course", curve: &working,
		seasonFrom: 16*day + 7, season: 20 * day,
		fleets: []fleet{
			{name: "simulator", project: "course", flavor: "g1.host", count: 5, rhythm: office, gpus: 1, model: "l40s", ssd: 150},
			{name: "bench", project: "course", flavor: "s1.medium", count: 9, rhythm: office, days: 10, ssd: 30},
			{name: "build", project: "course", flavor: "m1.xlarge", count: 2, rhythm: elastic, ssd: 200, traffic: 400, ip: true},
		},
		buckets: []bucket{{name: "recordings", project: "course", class: "standard", size: 400, growth: 35}},
	},
}
