// Command runner plays the scenarios of tests/scenarios: commands on standard input, answers on standard output.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/proto"

	sojourn "github.com/sojourn-router/sojourn/clients/go"
	pb "github.com/sojourn-router/sojourn/clients/go/sojournv1"
)

var (
	client   *sojourn.Client
	episodes = map[string]*sojourn.Episode{}
	ctx      = context.Background()
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		command, rest, _ := strings.Cut(lines.Text(), "\t")
		given := map[string]string{}
		for field := range strings.SplitSeq(rest, "\t") {
			key, value, _ := strings.Cut(field, "=")
			given[key] = value
		}
		if found, err := do(command, given); err != nil {
			fmt.Println(failure(err))
		} else {
			fmt.Println(strings.TrimSuffix("ok\t"+found, "\t"))
		}
	}
	_ = client.Close(5 * time.Second)
}

func do(command string, given map[string]string) (string, error) {
	episode := episodes[given["handle"]]
	switch command {
	case "client":
		return "", open(given)
	case "episode":
		episodes[given["handle"]] = client.Episode(given["id"], sojourn.EpisodeOptions{
			Policy: given["policy"], TaskType: given["task_type"], FirstTurnIndex: int32(number(given["first_turn_index"])),
		})
		return "", nil
	case "decide":
		return told(episode.Decide(ctx, parse(given["request"], &pb.DecideRequest{})))
	case "retry":
		return told(episode.Retry(ctx))
	case "report":
		return "", episode.Report(parse(given["facts"], &pb.TurnFacts{}))
	case "end":
		receipt, err := episode.End(ctx, parse(given["outcome"], &pb.ReportOutcomeRequest{}))
		if err != nil || given["wait"] == "" {
			return "", err
		}
		answer, err := receipt.Wait(ctx)
		return fmt.Sprintf("state=%s\tjoined=%d", answer.State, answer.JoinedDecisions), err
	case "flush":
		return fmt.Sprintf("flushed=%t", client.Flush(time.Duration(number(given["timeout_ms"]))*time.Millisecond)), nil
	case "counters":
		c := client.Counters()
		fallbacks := strings.Trim(strings.ReplaceAll(fmt.Sprint(c.Fallbacks), " ", ","), "map[]")
		return fmt.Sprintf("decisions=%d\tfallbacks=%s\tacknowledged=%d\tretried=%d\trefused=%d",
			c.Decisions, fallbacks, c.ReportsAcknowledged, c.ReportsRetried, c.ReportsRefused), nil
	}
	panic("unknown command " + command)
}

func open(given map[string]string) (err error) {
	table := sojourn.FallbackTable{}
	for entry := range strings.SplitSeq(given["table"], ",") {
		toolType, model, _ := strings.Cut(entry, ":")
		table[toolType] = model
	}
	options := sojourn.Options{
		Fallback:       table,
		DecideDeadline: time.Duration(number(given["deadline_ms"])) * time.Millisecond,
		Token:          func() string { return given["token"] },
		Traceparent:    func(context.Context) string { return given["traceparent"] },
	}
	if given["ca"] != "" {
		if options.Credentials, err = credentials.NewClientTLSFromFile(given["ca"], ""); err != nil {
			return err
		}
	}
	client, err = sojourn.New(given["target"], options)
	return err
}

func told(d *sojourn.Decision, err error) (string, error) {
	if err != nil {
		return "", err
	}
	found := fmt.Sprintf("turn_index=%d\tattempt=%d\tmodel=%s\tincumbent=%s\treason=%s\tpropensity=%g\tdecision_id=%s\tfallback=%s",
		d.TurnIndex, d.Attempt, d.Model, d.Incumbent, d.Reason, d.Propensity, d.DecisionID, d.Fallback)
	if d.Switched {
		found += "\tswitched=true"
	}
	return found, nil
}

func failure(err error) string {
	var refused *sojourn.Refused
	if errors.As(err, &refused) {
		var fields []string
		for _, violation := range refused.Violations {
			fields = append(fields, violation.Field)
		}
		return fmt.Sprintf("error\tkind=refused\tcode=%s\treason=%s\tfields=%s", refused.Code, refused.Reason, strings.Join(fields, ","))
	}
	if errors.Is(err, sojourn.ErrNoFallback) {
		return "error\tkind=no_fallback"
	}
	return "error\tkind=" + err.Error()
}

func parse[M proto.Message](text string, message M) M {
	bytes, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = proto.Unmarshal(bytes, message)
	}
	if err != nil {
		panic(err)
	}
	return message
}

func number(text string) int {
	value, _ := strconv.Atoi(text)
	return value
}
