// Package stage is the table of a Run's stages, which the reconciler, the report, the command line and package compact share.
//
// To add a stage: a condition in internal/api/v1alpha1/run_conditions.go, a row here, a function of the row's name among those of
// internal/controller/run/reconciler.go in a file of its own, and a test.
package stage

import "github.com/w3evolutionsllc/conductor/internal/api/v1alpha1"

// Deadline is the setting that limits how long a stage is retried after transient errors.
type Deadline int

// The deadlines.
const (
	// NoDeadline is for stages that have no transient errors, or that are retried as long as the Run exists.
	NoDeadline Deadline = iota
	// StageDeadline is deadlines.stage, RecordDeadline deadlines.record.
	StageDeadline
	RecordDeadline
)

// Stage is one stage of a Run.
type Stage struct {
	// Name identifies the stage in the status (v1alpha1.StageTime) and is the name of its function in the reconciler.
	Name string
	// Condition is the stage's condition in the Run's status.
	Condition string
	// Phase is the Run's phase while this is the first incomplete stage.
	Phase v1alpha1.RunPhase
	// Title is the heading of its row in the comment; Doing and Failed are headlines. Stages without a title have no row: the report does
	// not report itself, and the comment shows the stack elsewhere.
	Title, Doing, Failed string
	// Always means that the stage is reconciled even after the outcome is known.
	Always   bool
	Deadline Deadline
}

// Table lists the stages in order.
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

// Of returns the stage of a condition, or nil.
func Of(condition string) *Stage {
	for i := range Table {
		if Table[i].Condition == condition {
			return &Table[i]
		}
	}
	return nil
}
