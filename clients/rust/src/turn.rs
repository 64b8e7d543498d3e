//! One turn: what was asked, what was decided, what the caller told of it.

use prost::Message;
use tonic::Code;

use crate::v1::{DecideRequest, DecideResponse, Reason, TurnFacts};

/// The model for one turn, and why.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Number of the turn in its episode, from 0.
    pub turn_index: i32,
    /// 0 at first; raised by each retry.
    pub attempt: i32,
    /// The model to call.
    pub model: String,
    /// The model that served the turn before.
    pub incumbent: Option<String>,
    /// True if the model differs from the incumbent.
    pub switched: bool,
    /// The router's reason by its short name, such as "HELD", or "DECIDED_BY_CLIENT".
    pub reason: String,
    /// Probability of this choice given all that went before in the episode, in (0, 1].
    pub propensity: f64,
    /// `None` if nothing is on record: the client decided, or the router's journal was away.
    pub decision_id: Option<String>,
    /// Why the client decided by itself; `None` if the router did.
    pub fallback: Option<Code>,
    /// The router's whole answer, if it gave one.
    pub answer: Option<DecideResponse>,
}

impl Decision {
    pub(crate) fn by_router(request: &DecideRequest, answer: DecideResponse) -> Self {
        let reason =
            Reason::try_from(answer.reason).map_or_else(|_| answer.reason.to_string(), |r| short(r.as_str_name(), "REASON_"));
        Self {
            turn_index: request.turn_index,
            attempt: request.attempt,
            model: answer.model.clone(),
            incumbent: some_text(&answer.incumbent),
            switched: answer.switched,
            reason,
            propensity: answer.propensity,
            decision_id: some_text(&answer.decision_id),
            fallback: None,
            answer: Some(answer),
        }
    }

    pub(crate) fn by_client(request: &DecideRequest, model: String, incumbent: Option<String>, because: Code) -> Self {
        Self {
            turn_index: request.turn_index,
            attempt: request.attempt,
            switched: incumbent.as_ref().is_some_and(|incumbent| *incumbent != model),
            model,
            incumbent,
            reason: "DECIDED_BY_CLIENT".to_owned(),
            propensity: 1.0,
            decision_id: None,
            fallback: Some(because),
            answer: None,
        }
    }
}

/// A decided turn. `failed` are the earlier attempts at it, `reported` is what the caller told of it.
pub(crate) struct Turn {
    pub(crate) inputs: DecideRequest,
    pub(crate) decision: Decision,
    pub(crate) failed: Vec<Decision>,
    pub(crate) reported: Option<TurnFacts>,
}

impl Turn {
    /// True if the router decided this turn and could write it down.
    pub(crate) fn is_on_record(&self) -> bool {
        self.decision.decision_id.is_some()
    }

    /// Adds facts; a later value of the same field wins.
    pub(crate) fn record(&mut self, facts: &TurnFacts) {
        merge(self.reported.get_or_insert_default(), facts);
    }

    /// What the router should hear of this turn; `None` lets it assume that its choice served.
    pub(crate) fn facts(&self) -> Option<TurnFacts> {
        if self.reported.is_none() && self.is_on_record() {
            return None;
        }
        let served_model = self.decision.model.clone();
        let mut facts = TurnFacts { served_model, decided_by_client: !self.is_on_record(), ..Default::default() };
        merge(&mut facts, &self.reported.clone().unwrap_or_default());
        Some(facts)
    }

    /// The model that served, as far as the client knows.
    pub(crate) fn served_model(&self) -> &str {
        let reported = self.reported.as_ref().map_or("", |facts| &facts.served_model);
        if reported.is_empty() { &self.decision.model } else { reported }
    }
}

/// A name of the contract without the prefix of its enum.
pub(crate) fn short(name: &str, prefix: &str) -> String {
    name.strip_prefix(prefix).unwrap_or(name).to_owned()
}

/// Merges as protobuf does: what is set in `news` wins, message by message.
fn merge(into: &mut TurnFacts, news: &TurnFacts) {
    into.merge(news.encode_to_vec().as_slice()).expect("what was just encoded can be decoded");
}

fn some_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Severity, Usage};

    #[test]
    fn a_later_value_of_the_same_field_wins_and_the_others_stay() {
        let decision =
            Decision::by_router(&DecideRequest::default(), DecideResponse { decision_id: "d".into(), ..Default::default() });
        let mut turn = Turn { inputs: DecideRequest::default(), decision, failed: Vec::new(), reported: None };
        assert_eq!(turn.facts(), None);
        turn.record(&TurnFacts {
            usage: Some(Usage { input_tokens: Some(1), output_tokens: Some(2), ..Default::default() }),
            ..Default::default()
        });
        turn.record(&TurnFacts {
            usage: Some(Usage { output_tokens: Some(3), ..Default::default() }),
            error: Severity::Low.into(),
            ..Default::default()
        });
        let facts = turn.facts().unwrap();
        assert_eq!(facts.usage, Some(Usage { input_tokens: Some(1), output_tokens: Some(3), ..Default::default() }));
        assert_eq!(facts.error(), Severity::Low);
    }
}
