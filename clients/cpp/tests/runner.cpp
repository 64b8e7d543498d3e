// Plays the scenarios of tests/scenarios: commands on standard input, answers on standard output.
#include <sojourn/sojourn.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>

namespace {

using Fields = std::map<std::string, std::string>;

std::string text(const Fields& given, const std::string& key) {
  const auto field = given.find(key);
  return field == given.end() ? "" : field->second;
}

int number(const Fields& given, const std::string& key) { return std::atoi(text(given, key).c_str()); }

std::string decoded(const std::string& base64) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  unsigned held = 0;
  int bits = 0;
  for (const char digit : base64.substr(0, base64.find('='))) {
    held = held << 6 | static_cast<unsigned>(digits.find(digit));
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes.push_back(static_cast<char>(held >> bits & 0xff));
    }
  }
  return bytes;
}

template <typename Message>
Message parsed(const Fields& given, const std::string& key) {
  Message message;
  if (!message.ParseFromString(decoded(text(given, key)))) {
    throw std::invalid_argument(key + " is no message");
  }
  return message;
}

sojourn::Options options(const Fields& given) {
  sojourn::Options options;
  std::istringstream table(text(given, "table"));
  for (std::string entry; std::getline(table, entry, ',');) {
    const std::size_t colon = entry.find(':');
    options.fallback[entry.substr(0, colon)] = entry.substr(colon + 1);
  }
  options.decide_deadline = std::chrono::milliseconds(number(given, "deadline_ms"));
  options.token = [token = text(given, "token")] { return token; };
  options.traceparent = [traceparent = text(given, "traceparent")] { return traceparent; };
  if (given.count("ca")) {
    std::ifstream file(text(given, "ca"));
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs.assign(std::istreambuf_iterator<char>(file), {});
    options.credentials = grpc::SslCredentials(tls);
  }
  return options;
}

sojourn::EpisodeOptions episode_options(const Fields& given) {
  sojourn::EpisodeOptions options;
  options.policy = text(given, "policy");
  options.task_type = text(given, "task_type");
  options.first_turn_index = number(given, "first_turn_index");
  return options;
}

std::string told(const sojourn::Decision& decision) {
  std::ostringstream found;
  found << "turn_index=" << decision.turn_index << "\tattempt=" << decision.attempt << "\tmodel=" << decision.model
        << "\tincumbent=" << decision.incumbent << "\treason=" << decision.reason
        << "\tpropensity=" << decision.propensity << "\tdecision_id=" << decision.decision_id
        << "\tfallback=" << (decision.fallback ? sojourn::name_of(*decision.fallback) : "");
  return found.str() + (decision.switched ? "\tswitched=true" : "");
}

std::string told(const sojourn::Counters& counters) {
  std::string fallbacks;
  for (const auto& [code, count] : counters.fallbacks) {
    fallbacks += (fallbacks.empty() ? "" : ",") + sojourn::name_of(code) + ":" + std::to_string(count);
  }
  std::ostringstream found;
  found << "decisions=" << counters.decisions << "\tfallbacks=" << fallbacks
        << "\tacknowledged=" << counters.reports_acknowledged << "\tretried=" << counters.reports_retried
        << "\trefused=" << counters.reports_refused;
  return found.str();
}

std::string failure(const sojourn::Refused& refused) {
  std::string fields;
  for (const sojourn::FieldViolation& violation : refused.violations()) {
    fields += (fields.empty() ? "" : ",") + violation.field;
  }
  return "kind=refused\tcode=" + sojourn::name_of(refused.code()) + "\treason=" + refused.reason() +
         "\tfields=" + fields;
}

class Runner {
 public:
  std::string answer(const std::string& line) {
    std::istringstream parts(line);
    std::string command;
    std::getline(parts, command, '\t');
    Fields given;
    for (std::string field; std::getline(parts, field, '\t');) {
      const std::size_t equals = field.find('=');
      given[field.substr(0, equals)] = field.substr(equals + 1);
    }
    try {
      const std::string found = obey(command, given);
      return found.empty() ? "ok" : "ok\t" + found;
    } catch (const sojourn::Refused& refused) {
      return "error\t" + failure(refused);
    } catch (const sojourn::NoFallback&) {
      return "error\tkind=no_fallback";
    } catch (const sojourn::Error& error) {
      return std::string("error\tkind=") + error.what();
    }
  }

 private:
  std::string obey(const std::string& command, const Fields& given) {
    if (command == "client") {
      client_.emplace(text(given, "target"), options(given));
    } else if (command == "episode") {
      episodes_.insert_or_assign(text(given, "handle"), client_->episode(text(given, "id"), episode_options(given)));
    } else if (command == "decide") {
      return told(episode(given).decide(parsed<sojourn::v1::DecideRequest>(given, "request")));
    } else if (command == "retry") {
      return told(episode(given).retry());
    } else if (command == "report") {
      episode(given).report(parsed<sojourn::v1::TurnFacts>(given, "facts"));
    } else if (command == "end") {
      sojourn::Receipt receipt = episode(given).end(parsed<sojourn::v1::ReportOutcomeRequest>(given, "outcome"));
      if (given.count("wait")) {
        const sojourn::Acknowledgement answer = receipt.get();
        return "state=" + answer.state + "\tjoined=" + std::to_string(answer.joined_decisions);
      }
    } else if (command == "flush") {
      const bool flushed = client_->flush(std::chrono::milliseconds(number(given, "timeout_ms")));
      return flushed ? "flushed=true" : "flushed=false";
    } else if (command == "counters") {
      return told(client_->counters());
    } else {
      throw std::invalid_argument(command);
    }
    return "";
  }

  sojourn::Episode& episode(const Fields& given) { return episodes_.at(text(given, "handle")); }

  std::optional<sojourn::Client> client_;
  std::map<std::string, sojourn::Episode> episodes_;
};

}  // namespace

int main() {
  Runner runner;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << runner.answer(line) << std::endl;
  }
}
