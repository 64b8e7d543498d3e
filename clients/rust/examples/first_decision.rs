//! One turn of an episode, from the choice of its model to the outcome: `cargo run --example first_decision` beside a router.

use std::time::Duration;

use sojourn_client::v1::{Context, DecideRequest, Severity, TurnFacts};
use sojourn_client::{Client, EpisodeOptions, Error, FallbackTable, Options};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let fallback = FallbackTable::from([("search", "gpt-oss-120b"), ("*", "gpt-5")]);
    let client = Client::new("localhost:50051", Options { fallback, ..Default::default() })?;
    let mut episode = client.episode("ticket-4711", EpisodeOptions { task_type: "support".into(), ..Default::default() });

    // An error is a mistake of the caller's, or nobody left to serve the turn; never an outage alone.
    let context = Context { tool_name: "grep".into(), prompt_tokens: Some(6_200), ..Default::default() };
    let decision = episode.decide(DecideRequest { context: Some(context), ..Default::default() }).await?;
    println!("{} {}", decision.model, decision.reason); // call that model, then tell what became of it:
    episode.report(TurnFacts { error: Severity::None.into(), ..Default::default() })?;

    episode.succeed()?;
    client.close(Duration::from_secs(5)).await
}
