//! What one episode has seen so far, and what to ask and tell next.

use tonic::Code;

use crate::client::{Client, check_size};
use crate::delivery::Receipt;
use crate::error::{Error, Refused};
use crate::turn::{Decision, Turn};
use crate::v1::{DecideRequest, OutcomeStatus, ReportOutcomeRequest, ReportTurnRequest, TurnFacts};

/// What stays the same through an episode; all may be left out.
#[derive(Debug, Clone, Default)]
pub struct EpisodeOptions {
    /// Which policy decides; the client's unless given.
    pub policy: String,
    /// Kind of task that the episode solves.
    pub task_type: String,
    /// Unit of the cohort draw, such as a tenant; the episode unless given.
    pub assignment_key: String,
    /// Resumes an episode that began elsewhere.
    pub first_turn_index: i32,
}

/// An episode, from first turn to outcome; one agent's loop owns it.
///
/// A turn begins when its answer is settled, so a refused request, or a future that is dropped, leaves everything as it
/// was. The facts of turn t ride on the request of turn t + 1, those of the last on the outcome; a turn that the router
/// has no record of, because the client decided, is always told.
pub struct Episode {
    client: Client,
    id: String,
    options: EpisodeOptions,
    newest: Option<Turn>,
    before_newest: Option<Turn>,
    ended: bool,
}

impl Episode {
    pub(crate) fn new(client: Client, id: String, options: EpisodeOptions) -> Self {
        Self { client, id, options, newest: None, before_newest: None, ended: false }
    }

    /// The model for the next turn, within the decide deadline. The caller fills in `context`, `candidates`, `constraints`
    /// and `cost_weight` of `inputs`, the episode the rest.
    ///
    /// Without an answer from the router: the incumbent, else the fallback table's model. Fails with [`Error::Refused`]
    /// for the caller's mistakes, which leave the turn unbegun, and with [`Error::NoFallback`] if no model is left.
    pub async fn decide(&mut self, inputs: DecideRequest) -> Result<Decision, Error> {
        let turn_index = self.newest.as_ref().map_or(self.options.first_turn_index, |turn| turn.decision.turn_index + 1);
        let decision = self.settle(&inputs, turn_index, self.newest.as_ref(), &[]).await?;
        let turn = Turn { inputs, decision: decision.clone(), failed: Vec::new(), reported: None };
        self.before_newest = self.newest.replace(turn);
        Ok(decision)
    }

    /// Another model for the newest turn, because the chosen one could not serve. It asks the same inputs again; what was
    /// reported of the failed attempt is forgotten.
    pub async fn retry(&mut self) -> Result<Decision, Error> {
        let newest = self.newest.as_ref().ok_or(Error::NoTurn)?;
        let failed = [newest.failed.as_slice(), std::slice::from_ref(&newest.decision)].concat();
        let inputs = newest.inputs.clone();
        let decision = self.settle(&inputs, newest.decision.turn_index, self.before_newest.as_ref(), &failed).await?;
        self.newest = Some(Turn { inputs, decision: decision.clone(), failed, reported: None });
        Ok(decision)
    }

    /// Records facts of the newest turn. May be called again: a later value of the same field wins.
    pub fn report(&mut self, facts: TurnFacts) -> Result<(), Error> {
        self.newest.as_mut().ok_or(Error::NoTurn)?.record(&facts);
        Ok(())
    }

    /// Ends the episode as SUCCEEDED with score 1.
    pub fn succeed(&mut self) -> Result<Receipt, Error> {
        self.end_as(OutcomeStatus::Succeeded)
    }

    /// Ends the episode as FAILED with score 0.
    pub fn fail(&mut self) -> Result<Receipt, Error> {
        self.end_as(OutcomeStatus::Failed)
    }

    /// Ends the episode as ABANDONED, which teaches nothing.
    pub fn abandon(&mut self) -> Result<Receipt, Error> {
        self.end_as(OutcomeStatus::Abandoned)
    }

    /// Ends the episode. The caller fills in `status`, `score`, `cost_usd` and `metrics`. It does not wait:
    /// [`Receipt::wait`] does.
    pub fn end(&mut self, outcome: ReportOutcomeRequest) -> Result<Receipt, Error> {
        self.check_open()?;
        // The outcome's facts count to the newest turn on record, so those of another go before it by themselves.
        let told_apart = self.newest.as_ref().filter(|turn| !turn.is_on_record());
        let last_turn = if told_apart.is_some() { None } else { self.newest.as_ref().and_then(Turn::facts) };
        let key = (self.options.policy.clone(), self.id.clone());
        let request = ReportOutcomeRequest { policy: key.0, episode_id: key.1, last_turn, ..outcome };
        check_size(&request)?;
        self.volunteer(told_apart);
        self.ended = true;
        self.client.report_outcome(request)
    }

    /// Leaves without an outcome, which comes from elsewhere; sends the last turn's facts.
    pub fn leave_open(&mut self) -> Result<(), Error> {
        self.check_open()?;
        self.ended = true;
        self.volunteer(self.newest.as_ref());
        Ok(())
    }

    fn end_as(&mut self, status: OutcomeStatus) -> Result<Receipt, Error> {
        self.end(ReportOutcomeRequest { status: status.into(), ..Default::default() })
    }

    async fn settle(
        &self,
        inputs: &DecideRequest,
        turn_index: i32,
        previous: Option<&Turn>,
        failed: &[Decision],
    ) -> Result<Decision, Error> {
        self.check_open()?;
        let request = self.request(inputs, turn_index, previous, failed);
        check_size(&request)?;
        let decision = match self.client.decide(request.clone()).await {
            Ok(answer) => Decision::by_router(&request, answer),
            Err(refused) => self.decide_alone(&request, previous, failed, refused)?,
        };
        self.client.count_decision(decision.fallback);
        if decision.fallback.is_some() {
            self.volunteer(previous); // they rode on a request that may not have arrived; telling twice is harmless
        }
        Ok(decision)
    }

    fn request(&self, inputs: &DecideRequest, turn_index: i32, previous: Option<&Turn>, failed: &[Decision]) -> DecideRequest {
        let mut request = DecideRequest {
            policy: self.options.policy.clone(),
            episode_id: self.id.clone(),
            assignment_key: self.options.assignment_key.clone(),
            turn_index,
            attempt: failed.len() as i32,
            previous_turn: previous.and_then(Turn::facts),
            ..inputs.clone()
        };
        let context = request.context.get_or_insert_default();
        if !self.options.task_type.is_empty() {
            context.task_type.clone_from(&self.options.task_type);
        }
        let alone = failed.iter().filter(|decision| decision.fallback.is_some()); // the router knows its own
        request.constraints.get_or_insert_default().deny.extend(alone.map(|decision| decision.model.clone()));
        request
    }

    fn decide_alone(
        &self,
        request: &DecideRequest,
        previous: Option<&Turn>,
        failed: &[Decision],
        because: Refused,
    ) -> Result<Decision, Error> {
        if because.is_mistake() {
            return Err(because.into());
        }
        let incumbent = previous.map(Turn::served_model);
        let tried: Vec<&str> = failed.iter().map(|decision| decision.model.as_str()).collect();
        let model = self.client.fallback().choose(request, incumbent, &tried).ok_or(Error::NoFallback(because.code))?;
        Ok(Decision::by_client(request, model, incumbent.map(str::to_owned), because.code))
    }

    fn volunteer(&self, told: Option<&Turn>) {
        let Some((turn, facts)) = told.and_then(|turn| Some((turn, turn.facts()?))) else { return };
        let request = ReportTurnRequest {
            policy: self.options.policy.clone(),
            episode_id: self.id.clone(),
            turn_index: Some(turn.decision.turn_index),
            facts: Some(facts),
            ..Default::default()
        };
        let _ = self.client.report_turn(request); // a report that is dropped is counted
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.ended {
            let message = format!("episode {:?} has ended", self.id);
            return Err(Refused::by_client(Code::FailedPrecondition, "EPISODE_ENDED", message).into());
        }
        Ok(())
    }
}
