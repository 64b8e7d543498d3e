// One turn of an episode, from the choice of its model to the outcome: `build/first_decision` beside a router.
#include <sojourn/sojourn.h>

#include <chrono>
#include <iostream>

int main() {
  sojourn::Options options;
  options.fallback = {{"search", "gpt-oss-120b"}, {"*", "gpt-5"}};
  sojourn::Client client("localhost:50051", options);
  sojourn::EpisodeOptions about;
  about.task_type = "support";
  sojourn::Episode episode = client.episode("ticket-4711", about);

  // A decision throws for a mistake of the caller's, or nobody left to serve the turn; never for an outage alone.
  sojourn::v1::DecideRequest inputs;
  inputs.mutable_context()->set_tool_name("grep");
  inputs.mutable_context()->set_prompt_tokens(6'200);
  const sojourn::Decision decision = episode.decide(inputs);
  std::cout << decision.model << ' ' << decision.reason << '\n';  // call that model, then tell what became of it:
  sojourn::v1::TurnFacts facts;
  facts.set_error(sojourn::v1::SEVERITY_NONE);
  episode.report(facts);

  episode.succeed();
  client.close(std::chrono::seconds(5));  // throws if reports were lost
}
