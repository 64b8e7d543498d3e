//! What serves a turn when the router does not answer: the incumbent, else the caller's small table. No other heuristic.

use std::collections::HashMap;

use crate::v1::DecideRequest;

/// A model by tool type, "*" for any other: `FallbackTable::from([("search", "gpt-oss-120b"), ("*", "gpt-5")])`.
#[derive(Debug, Clone, Default)]
pub struct FallbackTable(HashMap<String, String>);

impl<K: Into<String>, V: Into<String>, const N: usize> From<[(K, V); N]> for FallbackTable {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for FallbackTable {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self(entries.into_iter().map(|(tool_type, model)| (tool_type.into(), model.into())).collect())
    }
}

impl FallbackTable {
    /// The incumbent, else the table's model; `None` if none may serve the turn or all have `failed` at it.
    pub(crate) fn choose(&self, request: &DecideRequest, incumbent: Option<&str>, failed: &[&str]) -> Option<String> {
        let tool_type = request.context.as_ref().map_or("", |context| &context.tool_type);
        let listed = [tool_type, "*"].map(|key| self.0.get(key).map(String::as_str));
        let mut options = [incumbent].into_iter().chain(listed).flatten();
        options.find(|model| !failed.contains(model) && is_permitted(model, request)).map(str::to_owned)
    }
}

fn is_permitted(model: &str, request: &DecideRequest) -> bool {
    let is_offered = request.candidates.is_empty() || request.candidates.iter().any(|c| c.model == model);
    let Some(limits) = &request.constraints else { return is_offered };
    let is_allowed = limits.allow.is_empty() || limits.allow.iter().any(|m| m == model);
    is_offered && is_allowed && !limits.deny.iter().any(|m| m == model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{Constraints, Context};

    fn choose(incumbent: Option<&str>, failed: &[&str], limits: Constraints) -> Option<String> {
        let context = Context { tool_type: "search".into(), ..Default::default() };
        let request = DecideRequest { context: Some(context), constraints: Some(limits), ..Default::default() };
        FallbackTable::from([("search", "small"), ("*", "big")]).choose(&request, incumbent, failed)
    }

    #[test]
    fn the_incumbent_comes_first_then_the_tool_type_then_the_rest() {
        assert_eq!(choose(Some("kept"), &[], Constraints::default()).as_deref(), Some("kept"));
        assert_eq!(choose(None, &[], Constraints::default()).as_deref(), Some("small"));
        assert_eq!(choose(None, &["small"], Constraints::default()).as_deref(), Some("big"));
        assert_eq!(choose(None, &["small", "big"], Constraints::default()), None);
    }

    #[test]
    fn what_is_denied_or_not_allowed_never_serves() {
        let denied = Constraints { deny: vec!["kept".into(), "small".into()], ..Default::default() };
        assert_eq!(choose(Some("kept"), &[], denied).as_deref(), Some("big"));
        let allowed = Constraints { allow: vec!["another".into()], ..Default::default() };
        assert_eq!(choose(Some("kept"), &[], allowed), None);
    }
}
