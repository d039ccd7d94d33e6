// Package stage is the table of a Run's stages: what the reconciler, the report, the command line and the bounds of a Run know of them.
//
// To add a stage: a condition in internal/api/v1alpha1/run_conditions.go, a row here, a function of the row's name among those of
// internal/controller/run/reconciler.go in a file of its own, and a test.
package stage

import "github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"

// Deadline is the setting that bounds how long a stage is tried again which fails for the moment.
type Deadline int

// The deadlines.
const (
	// NoDeadline is for stages that fail only for good, or that are tried as long as the Run exists.
	NoDeadline Deadline = iota
	// StageDeadline is deadlines.stage, RecordDeadline deadlines.record.
	StageDeadline
	RecordDeadline
)

// Stage is one stage of a Run.
type Stage struct {
	// Name is that of its times in the status (v1alpha1.StageTime) and of its function in the reconciler.
	Name string
	// Condition is that of the Run's status.
	Condition string
	// Phase is the Run's while no stage before this one is open.
	Phase v1alpha1.RunPhase
	// Title heads its row in the comment; Doing and Failed are headlines. Stages without a title have no row: the report does not report
	// itself, and what becomes of the stack has a place of its own.
	Title, Doing, Failed string
	// Always means that it is reconciled after the outcome is known, too.
	Always   bool
	Deadline Deadline
}

// Table has the stages in their order.
var Table = []Stage{
	{
		Name: "checkout", Condition: v1alpha1.ConditionCheckedOut, Phase: v1alpha1.PhasePreparing, Deadline: StageDeadline,
		Title: "Checkout", Doing: "Reading the repository", Failed: "the run could not be prepared",
	},
	{
		Name: "secrets", Condition: v1alpha1.ConditionSecretsSynced, Phase: v1alpha1.PhaseBuilding, Deadline: StageDeadline,
		Title: "Secrets", Doing: "Waiting for secrets", Failed: "the secrets could not be synced",
	},
	{
		Name: "builds", Condition: v1alpha1.ConditionImagesBuilt, Phase: v1alpha1.PhaseBuilding, Deadline: StageDeadline,
		Title: "Images", Doing: "Building images", Failed: "an image could not be built",
	},
	{
		Name: "images", Condition: v1alpha1.ConditionImagesResolved, Phase: v1alpha1.PhaseStarting, Deadline: StageDeadline,
		Failed: "the images of the stack could not be resolved",
	},
	{
		Name: "stack", Condition: v1alpha1.ConditionStackReady, Phase: v1alpha1.PhaseStarting, Deadline: StageDeadline,
		Title: "Stack", Doing: "Starting the stack", Failed: "the stack did not come up",
	},
	{
		Name: "tests", Condition: v1alpha1.ConditionTestsPassed, Phase: v1alpha1.PhaseTesting, Deadline: StageDeadline,
		Title: "Tests", Doing: "Running the tests", Failed: "the tests could not be run",
	},
	{
		Name: "record", Condition: v1alpha1.ConditionRecorded, Always: true, Deadline: RecordDeadline,
		Title: "Record", Doing: "Keeping the record", Failed: "the record could not be kept",
	},
	{Name: "report", Condition: v1alpha1.ConditionReported, Always: true},
	{Name: "keep", Condition: v1alpha1.ConditionStackKept, Always: true},
}

// Of is the stage of a condition; nil where it has none.
func Of(condition string) *Stage {
	for i := range Table {
		if Table[i].Condition == condition {
			return &Table[i]
		}
	}
	return nil
}
