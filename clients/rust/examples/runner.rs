//! Plays the scenarios of tests/scenarios: commands on standard input, answers on standard output.

use std::collections::HashMap;
use std::io::stdin;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use sojourn_client::tonic::Code;
use sojourn_client::tonic::transport::{Certificate, ClientTlsConfig};
use sojourn_client::v1::{DecideRequest, ReportOutcomeRequest, TurnFacts};
use sojourn_client::{Client, Decision, Episode, EpisodeOptions, Error, FallbackTable, Options, TextSource};

type Fields = HashMap<String, String>;

#[derive(Default)]
struct Runner {
    client: Option<Client>,
    episodes: HashMap<String, Episode>,
}

#[tokio::main]
async fn main() {
    let mut runner = Runner::default();
    for line in stdin().lines() {
        let line = line.expect("a line of text");
        let (command, rest) = line.split_once('\t').unwrap_or((&line, ""));
        let given = rest.split('\t').filter_map(|field| field.split_once('='));
        let given: Fields = given.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        match runner.obey(command, &given).await {
            Ok(found) => println!("{}", format!("ok\t{found}").trim_end()),
            Err(error) => println!("error\t{}", failure(&error)),
        }
    }
    let _ = runner.client().close(Duration::from_secs(5)).await;
}

impl Runner {
    async fn obey(&mut self, command: &str, given: &Fields) -> Result<String, Error> {
        match command {
            "client" => self.client = Some(Client::new(text(given, "target"), options(given))?),
            "episode" => {
                let episode = self.client().episode(text(given, "id"), episode_options(given));
                self.episodes.insert(text(given, "handle").to_owned(), episode);
            }
            "decide" => return self.episode(given).decide(parse::<DecideRequest>(text(given, "request"))).await.map(told),
            "retry" => return self.episode(given).retry().await.map(told),
            "report" => self.episode(given).report(parse::<TurnFacts>(text(given, "facts")))?,
            "end" => {
                let receipt = self.episode(given).end(parse::<ReportOutcomeRequest>(text(given, "outcome")))?;
                if given.contains_key("wait") {
                    let answer = receipt.wait().await?;
                    return Ok(format!("state={}\tjoined={}", answer.state, answer.joined_decisions));
                }
            }
            "flush" => {
                let timeout = Duration::from_millis(number(given, "timeout_ms"));
                return Ok(format!("flushed={}", self.client().flush(timeout).await));
            }
            "counters" => return Ok(self.counters()),
            _ => panic!("unknown command {command}"),
        }
        Ok(String::new())
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("a client was made")
    }

    fn episode(&mut self, given: &Fields) -> &mut Episode {
        self.episodes.get_mut(text(given, "handle")).expect("the episode was opened")
    }

    fn counters(&self) -> String {
        let c = self.client().counters();
        let fallbacks: Vec<String> = c.fallbacks.iter().map(|(code, count)| format!("{}:{count}", name(*code))).collect();
        format!(
            "decisions={}\tfallbacks={}\tacknowledged={}\tretried={}\trefused={}",
            c.decisions,
            fallbacks.join(","),
            c.reports_acknowledged,
            c.reports_retried,
            c.reports_refused
        )
    }
}

fn options(given: &Fields) -> Options {
    let entries = text(given, "table").split(',').filter_map(|entry| entry.split_once(':'));
    let authority = given.get("ca").map(|file| std::fs::read(file).expect("a certificate"));
    Options {
        fallback: FallbackTable::from_iter(entries),
        decide_deadline: Duration::from_millis(number(given, "deadline_ms")),
        tls: authority.map(|pem| ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))),
        token: Some(source(given.get("token").cloned())),
        traceparent: Some(source(given.get("traceparent").cloned())),
        ..Default::default()
    }
}

fn episode_options(given: &Fields) -> EpisodeOptions {
    EpisodeOptions {
        policy: text(given, "policy").to_owned(),
        task_type: text(given, "task_type").to_owned(),
        first_turn_index: number(given, "first_turn_index") as i32,
        ..Default::default()
    }
}

fn told(d: Decision) -> String {
    let [incumbent, decision_id] = [d.incumbent, d.decision_id].map(Option::unwrap_or_default);
    let fallback = d.fallback.map(name).unwrap_or_default();
    let switched = if d.switched { "\tswitched=true" } else { "" };
    format!(
        "turn_index={}\tattempt={}\tmodel={}\tincumbent={incumbent}\treason={}\tpropensity={}\tdecision_id={decision_id}\t\
         fallback={fallback}{switched}",
        d.turn_index, d.attempt, d.model, d.reason, d.propensity
    )
}

fn failure(error: &Error) -> String {
    match error {
        Error::Refused(refused) => {
            let fields: Vec<&str> = refused.violations.iter().map(|violation| violation.field.as_str()).collect();
            format!("kind=refused\tcode={}\treason={}\tfields={}", name(refused.code), refused.reason, fields.join(","))
        }
        Error::NoFallback(_) => "kind=no_fallback".to_owned(),
        other => format!("kind={other}"),
    }
}

/// A status by gRPC's own name: `DeadlineExceeded` is DEADLINE_EXCEEDED.
fn name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn parse<M: prost::Message + Default>(packed: &str) -> M {
    M::decode(BASE64_STANDARD.decode(packed).expect("base64").as_slice()).expect("a message")
}

fn source(value: Option<String>) -> TextSource {
    Box::new(move || value.clone())
}

fn text<'a>(given: &'a Fields, key: &str) -> &'a str {
    given.get(key).map_or("", String::as_str)
}

fn number(given: &Fields, key: &str) -> u64 {
    text(given, key).parse().unwrap_or(0)
}
