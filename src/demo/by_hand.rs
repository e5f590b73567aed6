//! How to go on by hand: the same requests as `curl` lines, with everything secret in variables of
//! the shell.

use crate::demo::error::DemoError;
use crate::demo::narrate::Narrator;
use crate::demo::photos::SCOPE;
use crate::demo::stage::Stage;

/// The lines that need no secret of this run. They work in any POSIX shell, with curl and sed.
const LINES: &str = r#"
# takes a member out of a JSON answer
member() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

# an administrator's token
TOKEN=$(curl -s -u "$ADMIN_ID:$ADMIN_SECRET" -d grant_type=client_credentials \
  "$PUBLIC/oauth/token" | member access_token)

# register a client; its secret is shown once
CLIENT_SECRET=$(curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d '{"client_id":"mine","grant_types":["authorization_code","refresh_token"],
       "scope":"@SCOPE","resources":["'"$API"'"]}' "$ADMIN/admin/clients" \
  | member client_secret)

# a person says yes: a grant, and the code for it
CODE=$(curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d '{"client_id":"mine","subject":"carol"}' "$ADMIN/admin/grants" | member code)

# exchange the code
TOKENS=$(curl -s -u "mine:$CLIENT_SECRET" -d grant_type=authorization_code -d "code=$CODE" \
  "$PUBLIC/oauth/token"); echo "$TOKENS"
ACCESS=$(echo "$TOKENS" | member access_token); REFRESH=$(echo "$TOKENS" | member refresh_token)

# use the access token
curl -s -H "Authorization: Bearer $ACCESS" "$API/photos"; echo

# refresh; do it twice, and the same refresh token comes back
curl -s -u "mine:$CLIENT_SECRET" -d grant_type=refresh_token -d "refresh_token=$REFRESH" \
  "$PUBLIC/oauth/token"; echo

# introspect
curl -s -u "mine:$CLIENT_SECRET" -d "token=$ACCESS" "$PUBLIC/oauth/introspect"; echo

# the trail of everything in carol's name
curl -s -H "Authorization: Bearer $TOKEN" "$ADMIN/audit/subjects/trail?subject=carol"

# blacklist the client: all its tokens die at once (introspect again to see it)
curl -s -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' \
  -d '{"target":{"type":"client","id":"mine"},"reason":"tried it out"}' "$ADMIN/admin/blacklist"
echo; curl -s -u "mine:$CLIENT_SECRET" -d "token=$ACCESS" "$PUBLIC/oauth/introspect"; echo
"#;

/// Prints them, and the addresses that they go to.
///
/// # Errors
/// [`DemoError::Output`].
pub(super) fn show(tell: &mut Narrator<'_>, stage: &Stage) -> Result<(), DemoError> {
    tell.part("Go on by hand")?;
    tell.say("The servers go on until Ctrl-C. Paste the following into another shell:")?;
    tell.line("")?;
    tell.line(&format!("PUBLIC={}", stage.issuer))?;
    tell.line(&format!("ADMIN={}", stage.admin))?;
    tell.line(&format!("API={}", stage.api))?;
    credentials(tell, stage)?;
    // Not through the gate that cuts tokens: there are none, and it must come out as it is.
    tell.credential(LINES.replace("@SCOPE", SCOPE).trim_end())
}

/// Prints the first administrator's credentials as variables of the shell.
///
/// # Errors
/// [`DemoError::Output`].
pub(super) fn credentials(tell: &mut Narrator<'_>, stage: &Stage) -> Result<(), DemoError> {
    let administrator = &stage.administrator;
    tell.credential(&format!("ADMIN_ID={}", administrator.client))?;
    tell.credential(&format!("ADMIN_SECRET={}", administrator.secret.expose()))
}
