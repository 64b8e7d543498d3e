// One turn of an episode, from the choice of its model to the outcome; it needs a running router.
package main

import (
	"context"
	"fmt"
	"log"
	"time"

	sojourn "github.com/sojourn-router/sojourn/clients/go"
	pb "github.com/sojourn-router/sojourn/clients/go/sojournv1"
)

func main() {
	client, err := sojourn.New("localhost:50051", sojourn.Options{
		Fallback: sojourn.FallbackTable{"search": "gpt-oss-120b", "*": "gpt-5"},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(5 * time.Second)

	ctx := context.Background()
	episode := client.Episode("ticket-4711", sojourn.EpisodeOptions{TaskType: "support"})
	promptTokens := int64(6200)
	decision, err := episode.Decide(ctx, &pb.DecideRequest{
		Context: &pb.Context{ToolName: "grep", PromptTokens: &promptTokens},
	})
	if err != nil {
		log.Fatal(err) // a mistake of the caller's, or nobody left to serve the turn; never an outage alone
	}
	fmt.Println(decision.Model, decision.Reason) // call that model, then tell what became of it:
	if err := episode.Report(&pb.TurnFacts{Error: pb.Severity_SEVERITY_NONE}); err != nil {
		log.Fatal(err)
	}
	if _, err := episode.Succeed(ctx); err != nil {
		log.Fatal(err)
	}
}
