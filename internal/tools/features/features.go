// Package features is kafka-features: which features a cluster supports and has switched on, and
// changes of their levels (KIP-584). The command table in internal/tools calls Run; nothing here
// starts a goroutine.
package features

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/tools/cli"
	"github.com/moldau/moldau/internal/tools/client"
)

var (
	featureArgument = cli.Argument{Long: "--feature", Repeats: true, Help: "A feature and its level, such as metadata.version=30."}
	releaseArgument = cli.Argument{Long: "--release-version", Help: "Set all features to the levels of this release, such as 4.3."}
	unsafeArgument  = cli.Argument{Long: "--unsafe", IsFlag: true, Help: "Even if metadata may be lost for good."}
	dryRunArgument  = cli.Argument{Long: "--dry-run", IsFlag: true, Help: "Ask whether it could be done, and do not do it."}
	levelArgument   = cli.Argument{Long: "--metadata", Help: "DEPRECATED: the level of metadata.version, such as 4.3-IV0."}
)

var parser = &cli.SubParser{
	Program:     "kafka-features",
	Description: "Shows and changes the features of a cluster.",
	Terse:       true,
	Global: []cli.Argument{
		{Long: "--bootstrap-server", Help: "Brokers to connect to, host:port, separated by commas."},
		{Long: "--bootstrap-controller", Help: "Controllers to connect to instead."},
		{Long: "--command-config", Help: "File with client properties."},
	},
	Commands: []cli.SubCommand{
		{Name: "describe", Help: "Show the features.", Arguments: []cli.Argument{{Long: "--node-id", Bits: 32, Help: "The node to ask; otherwise any."}}},
		{Name: "upgrade", Help: "Raise levels.", Arguments: []cli.Argument{levelArgument, releaseArgument, featureArgument, dryRunArgument}},
		{Name: "downgrade", Help: "Lower levels.", Arguments: []cli.Argument{levelArgument, releaseArgument, featureArgument, unsafeArgument, dryRunArgument}},
		{Name: "disable", Help: "Switch features off, as a downgrade to level 0.", Arguments: []cli.Argument{
			{Long: "--feature", Repeats: true, Help: "The feature's name."}, unsafeArgument, dryRunArgument}},
		{Name: "version-mapping", Help: "Show which levels belong to a release.", Arguments: []cli.Argument{
			{Long: "--release-version", Help: "The release, from 3.3-IV3 on; otherwise " + latestMetadataVersion + "."}}},
		{Name: "feature-dependencies", Help: "Show what a level of a feature needs.", Arguments: []cli.Argument{
			{Long: "--feature", Repeats: true, Required: true, Help: "A feature and its level, such as metadata.version=30."}}},
	},
}

// Run is kafka-features.
func Run(ctx context.Context, s cli.Streams, args []string) error {
	parsed, err := parser.Parse(s, args)
	if err != nil {
		return err
	}
	switch parsed.Command {
	case "version-mapping":
		return PrintMapping(s, parsed.Value("--release-version"))
	case "feature-dependencies":
		return PrintDependencies(s, parsed.Values("--feature"), words)
	}
	admin, err := connect(s, parsed)
	if err != nil {
		return err
	}
	defer admin.Close()
	if parsed.Command == "describe" {
		return describe(ctx, s, admin, parsed)
	}
	wanted, err := changes(s, parsed)
	if err != nil {
		return err
	}
	if parsed.Has("--release-version") {
		if err := leaveOut(ctx, s, admin, wanted); err != nil {
			return err
		}
	}
	return update(ctx, s, admin, parsed, wanted)
}

func connect(s cli.Streams, parsed *cli.Parsed) (*client.Client, error) {
	if !parsed.Has("--bootstrap-server") && !parsed.Has("--bootstrap-controller") {
		return nil, parser.Fail(s, parsed, "You must specify either --bootstrap-controller or --bootstrap-server.")
	}
	return client.OpenParsed(s, parsed, "--command-config")
}

// PrintMapping shows which levels belong to a release; "" is the newest. kafka-storage has it too.
func PrintMapping(s cli.Streams, release string) error {
	release = cmp.Or(release, latestMetadataVersion)
	level, err := metadataLevelOf(release)
	if err != nil {
		return err
	}
	s.Printf("%s=%d (%s)\n", metadataVersionName, level, release)
	for _, f := range production {
		s.Printf("%s=%d\n", f.name, f.defaultLevel(level))
	}
	return nil
}

// Words are the sentences by which a tool refuses levels, with {argument}, {level} and {name} where these belong.
type Words struct{ NoPair, NoNumber, NoLevel string }

var words = Words{
	NoPair:   "Can't parse feature=level string {argument}: equals sign not found.",
	NoNumber: "Can't parse feature=level string {argument}: unable to parse {level} as a short.",
	NoLevel:  "No feature:{name} with feature level {level}",
}

// PrintDependencies shows what levels of features need. kafka-storage has it too, in words of its own.
func PrintDependencies(s cli.Streams, wanted []string, words Words) error {
	for _, text := range wanted {
		name, level, err := parseLevel(text, words)
		if err != nil {
			return err
		}
		if name == metadataVersionName {
			release, ok := metadataName(level)
			if !ok {
				return fmt.Errorf("Unknown metadata.version %d", level) //nolint:staticcheck // the words of Kafka's tools
			}
			s.Printf("%s=%d (%s) has no dependencies.\n", name, level, release)
			continue
		}
		i := slices.IndexFunc(production, func(f feature) bool { return f.name == name })
		if i < 0 {
			return fmt.Errorf("Unknown feature: %s", name) //nolint:staticcheck // the words of Kafka's tools
		}
		switch {
		case level < 0 || int(level) > len(production[i].defaults):
			return sentence(words.NoLevel, text, strconv.Itoa(int(level)), name)
		case name == eligibleLeaderReplicas && level == 1: // the only one that needs something
			s.Printf("%s=%d requires:\n    %s=%d (%s)\n", name, level, metadataVersionName, eligibleMetadataLevel, LevelText(metadataVersionName, eligibleMetadataLevel))
		default:
			s.Printf("%s=%d has no dependencies.\n", name, level)
		}
	}
	return nil
}

func parseLevel(text string, words Words) (name string, level int16, err error) {
	name, levelText, ok := strings.Cut(text, "=")
	name, levelText = strings.TrimSpace(name), strings.TrimSpace(levelText)
	if !ok {
		return "", 0, sentence(words.NoPair, text, "", "")
	}
	number, err := strconv.ParseInt(levelText, 10, 16)
	if err != nil {
		return "", 0, sentence(words.NoNumber, text, levelText, name)
	}
	return name, int16(number), nil
}

func sentence(template, text, levelText, name string) error {
	return errors.New(strings.NewReplacer("{argument}", text, "{level}", levelText, "{name}", name).Replace(template))
}

func describe(ctx context.Context, s cli.Streams, admin *client.Client, parsed *cli.Parsed) error {
	var target kmsg.Requestor = admin
	if id, ok := parsed.Number("--node-id"); ok {
		if id < 0 {
			return fmt.Errorf("Invalid node id %d: must be non-negative.", id) //nolint:staticcheck // the words of Kafka's tools
		}
		connecting, cancel := admin.Context(ctx)
		defer cancel()
		if err := admin.Connect(connecting, "describeFeatures"); err != nil {
			return err
		}
		target = admin.Broker(int(id))
	}
	resp, err := supported(ctx, admin, target)
	if err != nil {
		return client.Convert(err, "describeFeatures")
	}
	printFeatures(s, resp)
	return nil
}

func printFeatures(s cli.Streams, resp *kmsg.ApiVersionsResponse) {
	levels := map[string]int16{}
	for _, f := range resp.FinalizedFeatures {
		levels[f.Name] = f.MaxVersionLevel
	}
	epoch := "-"
	if resp.FinalizedFeaturesEpoch >= 0 {
		epoch = strconv.FormatInt(resp.FinalizedFeaturesEpoch, 10)
	}
	slices.SortFunc(resp.SupportedFeatures, func(a, b kmsg.ApiVersionsResponseSupportedFeature) int { return strings.Compare(a.Name, b.Name) })
	for _, f := range resp.SupportedFeatures {
		s.Printf("Feature: %-40s  SupportedMinVersion: %-15s  SupportedMaxVersion: %-15s  FinalizedVersionLevel: %-15s  Epoch: %s\n",
			f.Name, LevelText(f.Name, f.MinVersion), LevelText(f.Name, f.MaxVersion), LevelText(f.Name, levels[f.Name]), epoch)
	}
}

// changes are the levels that the command line asks for.
func changes(s cli.Streams, parsed *cli.Parsed) (map[string]int16, error) {
	wanted := map[string]int16{}
	if parsed.Has("--release-version") {
		if parsed.Has("--metadata") || parsed.Has("--feature") {
			return nil, errors.New("Can not specify `release-version` with other feature flags.") //nolint:staticcheck // the words of Kafka's tools
		}
		level, err := metadataLevelOf(parsed.Value("--release-version"))
		if err != nil {
			return nil, err
		}
		wanted[metadataVersionName] = level
		for _, f := range production {
			if level := f.defaultLevel(level); level > 0 || parsed.Command != "upgrade" { // nothing is upgraded to 0
				wanted[f.name] = level
			}
		}
		return wanted, nil
	}
	if parsed.Has("--metadata") {
		s.Println(" `metadata` flag is deprecated and may be removed in a future release.")
		level, err := metadataLevelOf(parsed.Value("--metadata"))
		if err != nil {
			return nil, err
		}
		wanted[metadataVersionName] = level
	}
	for _, text := range parsed.Values("--feature") {
		name, level := text, int16(0)
		if parsed.Command != "disable" {
			var err error
			if name, level, err = parseLevel(text, words); err != nil {
				return nil, err
			}
		}
		if _, twice := wanted[name]; twice {
			return nil, fmt.Errorf("Feature %s was specified more than once.", name) //nolint:staticcheck // the words of Kafka's tools
		}
		switch {
		case level < 0:
			return nil, errors.New("Cannot specify a negative version level.") //nolint:staticcheck // the words of Kafka's tools
		case level == 0 && parsed.Command == "upgrade":
			return nil, errors.New("The upgradeType flag should be set to SAFE_DOWNGRADE or UNSAFE_DOWNGRADE when the provided maxVersionLevel:0 is < 1.") //nolint:staticcheck // the words of Kafka's tools
		}
		wanted[name] = level
	}
	if len(wanted) == 0 {
		return nil, fmt.Errorf("You must specify at least one feature to %s", parsed.Command) //nolint:staticcheck // the words of Kafka's tools
	}
	return wanted, nil
}

// leaveOut takes those features of a release away that the cluster does not have at all: one of them would have it refuse the others, too.
func leaveOut(ctx context.Context, s cli.Streams, admin *client.Client, wanted map[string]int16) error {
	resp, err := supported(ctx, admin, admin)
	if err != nil {
		return client.Convert(err, "describeFeatures")
	}
	for _, name := range missing(resp, wanted) {
		s.Printf("%s is left out: this cluster does not support level %d of it.\n", name, wanted[name])
		delete(wanted, name)
	}
	return nil
}

// missing are the features that the cluster does not have, and that are not to be at level 0.
func missing(resp *kmsg.ApiVersionsResponse, wanted map[string]int16) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if wanted[name] > 0 && !slices.ContainsFunc(resp.SupportedFeatures, func(f kmsg.ApiVersionsResponseSupportedFeature) bool { return f.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// supported asks which features there are.
func supported(ctx context.Context, admin *client.Client, target kmsg.Requestor) (*kmsg.ApiVersionsResponse, error) {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "moldau-tools", cli.KafkaVersion
	resp, err := req.RequestWith(ctx, target)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, nil)
	}
	return resp, err
}

// How far a level may change.
const (
	upgrade         int8 = 1
	safeDowngrade   int8 = 2
	unsafeDowngrade int8 = 3
)

func update(ctx context.Context, s cli.Streams, admin *client.Client, parsed *cli.Parsed, wanted map[string]int16) error {
	kind := upgrade
	switch {
	case parsed.Command != "upgrade" && parsed.Has("--unsafe"):
		kind = unsafeDowngrade
	case parsed.Command != "upgrade":
		kind = safeDowngrade
	}
	names := slices.Sorted(maps.Keys(wanted))
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.TimeoutMillis = int32(min(admin.APITimeout.Milliseconds(), 1<<31-1))
	req.ValidateOnly = parsed.Has("--dry-run")
	for _, name := range names {
		f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		f.Feature, f.MaxVersionLevel, f.UpgradeType, f.AllowDowngrade = name, wanted[name], kind, kind != upgrade
		req.FeatureUpdates = append(req.FeatureUpdates, f)
	}
	failures := ask(ctx, admin, req)
	failed := 0
	for _, name := range names {
		err := failures[name]
		if err != nil {
			failed++
		}
		s.Println(outcome(parsed.Command, name, wanted[name], req.ValidateOnly, err))
	}
	if failed > 0 {
		return fmt.Errorf("%d out of %d operation(s) failed.", failed, len(names)) //nolint:staticcheck // the words of Kafka's tools
	}
	return nil
}

// ask sends the request and returns what went wrong with each feature.
func ask(ctx context.Context, admin *client.Client, req *kmsg.UpdateFeaturesRequest) map[string]error {
	ctx, cancel := admin.Context(ctx)
	defer cancel()
	resp, err := req.RequestWith(ctx, admin)
	if err == nil {
		err = client.FromCode(resp.ErrorCode, resp.ErrorMessage)
	}
	failures := map[string]error{}
	for _, f := range req.FeatureUpdates {
		failures[f.Feature] = client.Convert(err, "updateFeatures")
	}
	if err == nil {
		for _, r := range resp.Results { // before version 2
			failures[r.Feature] = client.FromCode(r.ErrorCode, r.ErrorMessage)
		}
	}
	return failures
}

// outcome is the line about one feature.
func outcome(command, name string, level int16, dryRun bool, err error) string {
	change := fmt.Sprintf("%sd to %d.", command, level)
	if command == "disable" {
		change = "disabled."
	}
	if err == nil && dryRun {
		return name + " can be " + change
	}
	if err == nil {
		return name + " was " + change
	}
	change = fmt.Sprintf("%s %s to %d", command, name, level)
	if command == "disable" {
		change = "disable " + name
	}
	helper := "Could not "
	if dryRun {
		helper = "Can not "
	}
	return helper + change + ". " + err.Error()
}
