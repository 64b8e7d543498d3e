// Rules that need no router; tests/scenarios has those that do.
#include <sojourn/client/error_details.pb.h>
#include <sojourn/sojourn.h>

#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

#include "connection.h"
#include "delivery.h"
#include "fallback.h"
#include "refusal.h"
#include "turn.h"

using namespace std::chrono_literals;
using namespace sojourn;

namespace {

int failures = 0;

void check(bool is_met, const char* claim, int line) {
  if (!is_met) {
    ++failures;
    std::cerr << "line " << line << ": " << claim << '\n';
  }
}

#define CHECK(claim) check((claim), #claim, __LINE__)

template <typename Expected, typename Call>
bool throws(Call call) {
  try {
    call();
  } catch (const Expected&) {
    return true;
  }
  return false;
}

/// Refuses with each of these, then acknowledges.
Send stumbling(std::vector<grpc::StatusCode> codes) {
  return [codes = std::move(codes)](grpc::ClientContext&) mutable {
    if (codes.empty()) {
      return Acknowledgement{"RECORDED", 0};
    }
    const grpc::StatusCode code = codes.front();
    codes.erase(codes.begin());
    throw Refused(code, "", "told to");
  };
}

Acknowledgement never_served(grpc::ClientContext&) { throw Refused(grpc::UNAVAILABLE, "", "told to"); }

void a_report_is_sent_until_it_is_acknowledged() {
  Tally tally;
  Delivery delivery(1, tally);
  CHECK(delivery.offer(stumbling({grpc::UNAVAILABLE, grpc::RESOURCE_EXHAUSTED})).get().state == "RECORDED");
  CHECK(delivery.flush(1s));
  CHECK(tally.read().reports_retried == 2);
  CHECK(tally.read().reports_acknowledged == 1);
}

void a_report_that_is_refused_for_good_is_not_sent_again() {
  Tally tally;
  Delivery delivery(1, tally);
  CHECK(throws<Refused>([&] { delivery.offer(stumbling({grpc::INTERNAL})).get(); }));
  CHECK(tally.read().reports_refused == 1);
}

void an_error_of_the_callers_own_does_not_stop_the_next_report() {
  Tally tally;
  Delivery delivery(2, tally);
  Receipt first =
      delivery.offer([](grpc::ClientContext&) -> Acknowledgement { throw std::logic_error("no token to be had"); });
  CHECK(delivery.offer(stumbling({})).get().state == "RECORDED");
  CHECK(throws<std::logic_error>([&] { first.get(); }));
  CHECK(tally.read().reports_dropped == 1);
}

void what_the_queue_cannot_hold_and_what_is_left_at_the_end_is_dropped_and_counted() {
  Tally tally;
  Delivery delivery(1, tally);
  std::promise<void> begun;
  Receipt sending = delivery.offer([&, is_first = true](grpc::ClientContext& context) mutable {
    if (is_first) {
      is_first = false;
      begun.set_value();
    }
    return never_served(context);
  });
  begun.get_future().wait();
  Receipt waiting = delivery.offer(never_served);
  CHECK(throws<Dropped>([&] { delivery.offer(never_served).get(); }));
  CHECK(!delivery.flush(20ms));
  delivery.stop();
  CHECK(throws<Dropped>([&] { sending.get(); }));
  CHECK(throws<Dropped>([&] { waiting.get(); }));
  CHECK(throws<Dropped>([&] { delivery.offer(never_served).get(); }));
  CHECK(delivery.flush(0ms));
  CHECK(tally.read().reports_dropped == 4);
}

void a_pause_is_no_shorter_than_the_router_asks_and_has_a_ceiling() {
  CHECK(pause_before(0, 400ms) >= 400ms);
  CHECK(pause_before(0, 400ms) <= 500ms);
  CHECK(pause_before(1'000, 24h) <= 20s);
}

std::string chosen(const v1::DecideRequest& request, const std::string& incumbent,
                   const std::vector<std::string>& failed = {}) {
  std::vector<Decision> decisions(failed.size());
  for (std::size_t i = 0; i < failed.size(); ++i) {
    decisions[i].model = failed[i];
  }
  return choose({{"search", "small"}, {"*", "big"}}, request, incumbent, decisions);
}

void the_incumbent_comes_first_then_the_tool_type_then_the_rest() {
  v1::DecideRequest request;
  request.mutable_context()->set_tool_type("search");
  CHECK(chosen(request, "kept") == "kept");
  CHECK(chosen(request, "") == "small");
  CHECK(chosen(request, "", {"small"}) == "big");
  CHECK(chosen(request, "", {"small", "big"}).empty());
}

void what_is_denied_or_not_allowed_or_not_offered_never_serves() {
  v1::DecideRequest request;
  request.mutable_context()->set_tool_type("search");
  request.mutable_constraints()->add_deny("kept");
  request.mutable_constraints()->add_deny("small");
  CHECK(chosen(request, "kept") == "big");
  request.mutable_constraints()->add_allow("another");
  CHECK(chosen(request, "kept").empty());
  request.clear_constraints();
  request.add_candidates()->set_model("big");
  CHECK(chosen(request, "kept") == "big");
}

void a_later_value_of_the_same_field_wins_and_the_others_stay() {
  v1::DecideResponse answer;
  answer.set_model("m");
  answer.set_decision_id("d");
  Turn turn;
  turn.decision = decided_by_router({}, answer);
  CHECK(!turn.facts());

  v1::TurnFacts facts;
  facts.mutable_usage()->set_input_tokens(1);
  facts.mutable_usage()->set_output_tokens(2);
  turn.record(facts);
  facts.Clear();
  facts.mutable_usage()->set_output_tokens(3);
  facts.set_error(v1::SEVERITY_LOW);
  turn.record(facts);
  const v1::TurnFacts told = turn.facts().value();
  CHECK(told.served_model() == "m");
  CHECK(told.usage().input_tokens() == 1);
  CHECK(told.usage().output_tokens() == 3);
  CHECK(told.error() == v1::SEVERITY_LOW);
  CHECK(!told.decided_by_client());
}

void a_refusal_has_what_stands_beside_its_status() {
  client::ErrorInfo info;
  info.set_reason("INVALID_FIELD");
  client::RetryInfo retry;
  retry.mutable_retry_delay()->set_nanos(400'000'000);
  client::BadRequest bad;
  bad.add_field_violations()->set_field("score");
  client::Status details;
  details.add_details()->PackFrom(info);
  details.add_details()->PackFrom(retry);
  details.add_details()->PackFrom(bad);
  details.mutable_details(0)->set_type_url("type.googleapis.com/google.rpc.ErrorInfo");
  const Refused refused = refused_by(grpc::Status(grpc::INVALID_ARGUMENT, "no", details.SerializeAsString()));
  CHECK(refused.code() == grpc::INVALID_ARGUMENT);
  CHECK(refused.reason() == "INVALID_FIELD");
  CHECK(refused.retry_after() == 400ms);
  CHECK(refused.violations().size() == 1 && refused.violations()[0].field == "score");
  CHECK(refused_by(grpc::Status(grpc::INTERNAL, "no", "\xff")).reason().empty());
}

void codes_have_the_names_that_grpc_gives_them() {
  CHECK(name_of(grpc::OK) == "OK");
  CHECK(name_of(grpc::DEADLINE_EXCEEDED) == "DEADLINE_EXCEEDED");
  CHECK(name_of(grpc::OUT_OF_RANGE) == "OUT_OF_RANGE");
  CHECK(name_of(grpc::UNAUTHENTICATED) == "UNAUTHENTICATED");
}

void a_token_that_is_no_header_and_a_closed_client_end_no_program() {
  Options options;
  options.fallback = {{"*", "big"}};
  options.token = [] { return "a\nb"; };
  Client client("127.0.0.1:1", options);
  Episode episode = client.episode("e");
  CHECK(throws<NoTurn>([&] { episode.retry(); }));
  CHECK(episode.decide({}).model == "big");
  Receipt receipt = episode.succeed();
  CHECK(throws<Dropped>([&] { client.close(10ms); }));
  CHECK(throws<Dropped>([&] { receipt.get(); }));
  CHECK(client.episode("f").decide({}).model == "big");
}

}  // namespace

int main() {
  a_report_is_sent_until_it_is_acknowledged();
  a_report_that_is_refused_for_good_is_not_sent_again();
  an_error_of_the_callers_own_does_not_stop_the_next_report();
  what_the_queue_cannot_hold_and_what_is_left_at_the_end_is_dropped_and_counted();
  a_pause_is_no_shorter_than_the_router_asks_and_has_a_ceiling();
  the_incumbent_comes_first_then_the_tool_type_then_the_rest();
  what_is_denied_or_not_allowed_or_not_offered_never_serves();
  a_later_value_of_the_same_field_wins_and_the_others_stay();
  a_refusal_has_what_stands_beside_its_status();
  codes_have_the_names_that_grpc_gives_them();
  a_token_that_is_no_header_and_a_closed_client_end_no_program();
  std::cout << (failures ? "failed" : "passed") << '\n';
  return failures ? 1 : 0;
}
