//! A projection by way of its snapshot, and all that can be asked of one.

use token_ledger::domain::snapshot::Restoring;
use token_ledger::domain::state::State;

/// The projection that a start makes of the snapshot of `state`.
pub(crate) fn through_snapshot(state: &State) -> State {
    let mut restoring = Restoring::default();
    for (kind, bytes) in state.sections() {
        restoring.take(kind, &bytes).unwrap();
    }
    restoring.finish().unwrap()
}

/// All that a projection says, its lists too.
pub(crate) fn whole(state: &State) -> Vec<String> {
    let mut lines = state.canonical();
    for client in state.clients() {
        let grants = state.grants_of_client(&client.id, None, usize::MAX).grants;
        lines.push(format!(
            "of {}: {:?}",
            client.id,
            grants.iter().map(|g| g.id).collect::<Vec<_>>()
        ));
    }
    for grant in state.grants() {
        let at = state.head().unwrap().at;
        let tokens = state.tokens_of(&grant.id).filter(|token| at < token.expires_at);
        lines.push(format!("of {}: {:?}", grant.id, tokens.map(|t| t.digest).collect::<Vec<_>>()));
        if let Some(subject) = grant.subject {
            let grants = state.grants_of_subject(&subject, None, usize::MAX).grants;
            lines.push(format!(
                "of {subject}: {:?}",
                grants.iter().map(|g| g.id).collect::<Vec<_>>()
            ));
        }
    }
    lines
}
