//! Which server to talk to, and as which client: a file that only its owner can read, or the
//! environment. Neither the secret nor the line that holds it ever appears in a message.

use std::borrow::Cow;
use std::fs::{DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format, Toml};
use serde::Deserialize;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::log::file::{DIRECTORY_MODE, FILE_MODE, FileError, write_durably};
use crate::types::id::ClientId;
use crate::types::secret::Secret;

/// Where clients reach the service.
pub const PUBLIC_URL: &str = "TOKEN_LEDGER_PUBLIC_URL";
/// Where administrators and auditors reach it.
pub const ADMIN_URL: &str = "TOKEN_LEDGER_ADMIN_URL";
/// As which client to act.
pub const CLIENT_ID: &str = "TOKEN_LEDGER_CLIENT_ID";
/// The secret of that client.
pub const CLIENT_SECRET: &str = "TOKEN_LEDGER_CLIENT_SECRET";
/// `true` lets secrets travel over `http` to other hosts.
pub const ALLOW_PLAIN_HTTP: &str = "TOKEN_LEDGER_ALLOW_PLAIN_HTTP";
/// All variables of the command line; none of them is a setting of the service.
pub const VARIABLES: [&str; 5] =
    [PUBLIC_URL, ADMIN_URL, CLIENT_ID, CLIENT_SECRET, ALLOW_PLAIN_HTTP];

/// How many bytes a profile may take.
const PROFILE_BYTES_MAX: u64 = 64 * 1024;

/// A server and a client of it.
pub struct Profile {
    /// Base of `/oauth/...`.
    pub public: Url,
    /// Base of `/admin/...` and `/audit/...`.
    pub admin: Url,
    /// The client.
    pub client_id: ClientId,
    /// Its secret.
    pub client_secret: Secret,
    /// Whether `http` to another host is wanted.
    pub allow_plain_http: bool,
}

/// Why there is no usable profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` says where profiles are.
    #[error("there is no place for the profile: neither XDG_CONFIG_HOME nor HOME is set")]
    NoPlace,
    /// Nobody has logged in.
    #[error("there is no profile at {}", path.display())]
    NotThere {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot read the profile {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Others can read or change it, so its secret is no secret.
    #[error("others can read or change the profile {} (mode {mode:03o})", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not a profile.
    #[error("{} is not a profile", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
    },
    /// A member is missing.
    #[error("the profile does not say {member}")]
    Lacks {
        /// The member, as in the file.
        member: &'static str,
    },
    /// A member is not what it must be.
    #[error("{member} is not usable: {source}")]
    Unusable {
        /// The member, as in the file.
        member: &'static str,
        /// What is wrong with it.
        source: NotUsable,
    },
    /// The environment would have a secret sent to a server that it is not for.
    #[error("{variable} names another server than the profile whose secret would be sent there")]
    Elsewhere {
        /// The variable.
        variable: &'static str,
    },
    /// It cannot be written.
    #[error(transparent)]
    Unwritable(#[from] FileError),
    /// The directory for it cannot be made.
    #[error("cannot make the directory {}: {source}", path.display())]
    NoDirectory {
        /// Which directory.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
}

/// What a member must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotUsable {
    /// A base URL.
    #[error("it must be a URL like https://auth.example, without user, query and fragment")]
    Url,
    /// A base URL over which secrets may travel.
    #[error("http would show the secret to the network between here and there")]
    PlainHttp,
    /// A client identifier.
    #[error("it must be 1 to 128 visible ASCII characters but \" and \\")]
    ClientId,
    /// A client secret (RFC 6749 appendix A.2).
    #[error("it must be printable ASCII characters")]
    ClientSecret,
    /// A yes or no.
    #[error("it must be true or false")]
    Flag,
}

impl ProfileError {
    /// What a person can do next.
    pub fn hint(&self) -> Cow<'static, str> {
        const LOGIN: &str = "token-ledger login --public URL --admin URL --client-id ID makes one; \
                             or set the variables that token-ledger --help lists";
        match self {
            Self::NoPlace => "name a file with --profile FILE".into(),
            Self::NotThere { .. } | Self::Malformed { .. } | Self::Lacks { .. } => LOGIN.into(),
            Self::Unreadable { .. } => "name another file with --profile FILE".into(),
            Self::Exposed { path, .. } => format!(
                "chmod 600 {}; if others may have read it, rotate the secret: token-ledger client \
                 rotate-secret",
                path.display()
            )
            .into(),
            Self::Unusable { source: NotUsable::PlainHttp, .. } => {
                "use https, or --allow-plain-http (TOKEN_LEDGER_ALLOW_PLAIN_HTTP=true) where that \
                 network is your own"
                    .into()
            }
            Self::Unusable { .. } => LOGIN.into(),
            Self::Elsewhere { .. } => format!(
                "set {CLIENT_ID} and {CLIENT_SECRET} for that server, too; or name its profile with \
                 --profile FILE"
            )
            .into(),
            Self::Unwritable(_) | Self::NoDirectory { .. } => {
                "name a file that you may write with --profile FILE".into()
            }
        }
    }
}

/// A profile as written; each member may be missing.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawProfile {
    public_url: Option<String>,
    admin_url: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    allow_plain_http: bool,
}

/// Looks up an environment variable.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Profile {
    /// Whether `url` is at one of the server's two listeners, as they are written here.
    pub fn is_of(&self, url: &str) -> bool {
        let at = Url::parse(url).map(|url| url.origin());
        at.is_ok_and(|at| [&self.public, &self.admin].iter().any(|own| own.origin() == at))
    }

    /// Makes a profile of its parts as written.
    ///
    /// # Errors
    /// [`ProfileError::Unusable`] for the first part that is not what it must be.
    pub fn new(
        public: &str,
        admin: &str,
        client_id: &str,
        client_secret: Secret,
        allow_plain_http: bool,
    ) -> Result<Self, ProfileError> {
        let unusable = |member| move |source| ProfileError::Unusable { member, source };
        let public = base_url(public, allow_plain_http).map_err(unusable("public_url"))?;
        let admin = base_url(admin, allow_plain_http).map_err(unusable("admin_url"))?;
        let client_id =
            client_id.parse().map_err(|_| unusable("client_id")(NotUsable::ClientId))?;
        let printable = |c: u8| (0x20..=0x7E).contains(&c);
        if client_secret.expose().is_empty() || !client_secret.expose().bytes().all(printable) {
            return Err(unusable("client_secret")(NotUsable::ClientSecret));
        }
        Ok(Self { public, admin, client_id, client_secret, allow_plain_http })
    }

    /// Reads the profile: the file `named` on the command line alone; else the environment, and
    /// the default file for what that leaves open.
    ///
    /// # Errors
    /// [`ProfileError`]; nothing was sent anywhere.
    pub fn load(named: Option<&Path>, variables: Variables<'_>) -> Result<Self, ProfileError> {
        let raw = match named {
            Some(path) => read(path)?,
            None => {
                let set = |name| variables(name).filter(|value: &String| !value.is_empty());
                let mut raw = RawProfile {
                    public_url: set(PUBLIC_URL),
                    admin_url: set(ADMIN_URL),
                    client_id: set(CLIENT_ID),
                    client_secret: set(CLIENT_SECRET),
                    allow_plain_http: flag(set(ALLOW_PLAIN_HTTP))?,
                };
                if !raw.is_whole() {
                    let file = read(&default_path(variables)?)?;
                    raw.check_servers(&file)?;
                    raw.fill(file);
                }
                raw
            }
        };
        let lacks = |member| ProfileError::Lacks { member };
        let secret = raw.client_secret.ok_or(lacks("client_secret"))?;
        Self::new(
            &raw.public_url.ok_or(lacks("public_url"))?,
            &raw.admin_url.ok_or(lacks("admin_url"))?,
            &raw.client_id.ok_or(lacks("client_id"))?,
            Secret::new(secret),
            raw.allow_plain_http,
        )
    }

    /// Writes the profile to `path`, for its owner's eyes only, in place of what was there.
    ///
    /// # Errors
    /// [`ProfileError`] when the file system refuses; what was there before is still whole.
    pub fn save(&self, path: &Path) -> Result<(), ProfileError> {
        if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
            let failed = |source| ProfileError::NoDirectory { path: directory.to_owned(), source };
            made.map_err(failed)?;
        }
        Ok(write_durably(path, self.encode().as_bytes(), FILE_MODE)?)
    }

    fn encode(&self) -> Zeroizing<String> {
        let members: [(&str, &str); 4] = [
            ("public_url", self.public.as_str()),
            ("admin_url", self.admin.as_str()),
            ("client_id", self.client_id.as_str()),
            ("client_secret", self.client_secret.expose()),
        ];
        let mut text = Zeroizing::new(String::with_capacity(1024));
        for (name, value) in members {
            // Printable ASCII: only these two need an escape in a TOML basic string.
            let value = Zeroizing::new(value.replace('\\', "\\\\").replace('"', "\\\""));
            text.push_str(name);
            text.push_str(" = \"");
            text.push_str(&value);
            text.push_str("\"\n");
        }
        if self.allow_plain_http {
            text.push_str("allow_plain_http = true\n");
        }
        text
    }
}

impl RawProfile {
    fn is_whole(&self) -> bool {
        self.public_url.is_some()
            && self.admin_url.is_some()
            && self.client_id.is_some()
            && self.client_secret.is_some()
    }

    /// That the secret in `file`, where it is used, goes to no other server than the one in it.
    fn check_servers(&self, file: &Self) -> Result<(), ProfileError> {
        let origin = |url: &String| Url::parse(url).map(|url| url.origin()).ok();
        let is_other = |given: &Option<String>, own: &Option<String>| {
            given
                .as_ref()
                .zip(own.as_ref())
                .is_some_and(|(given, own)| origin(given) != origin(own))
        };
        for (variable, given, own) in [
            (PUBLIC_URL, &self.public_url, &file.public_url),
            (ADMIN_URL, &self.admin_url, &file.admin_url),
        ] {
            if self.client_secret.is_none() && is_other(given, own) {
                return Err(ProfileError::Elsewhere { variable });
            }
        }
        Ok(())
    }

    fn fill(&mut self, weaker: Self) {
        self.public_url = self.public_url.take().or(weaker.public_url);
        self.admin_url = self.admin_url.take().or(weaker.admin_url);
        self.client_id = self.client_id.take().or(weaker.client_id);
        self.client_secret = self.client_secret.take().or(weaker.client_secret);
        self.allow_plain_http |= weaker.allow_plain_http;
    }
}

fn flag(value: Option<String>) -> Result<bool, ProfileError> {
    match value.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            Err(ProfileError::Unusable { member: ALLOW_PLAIN_HTTP, source: NotUsable::Flag })
        }
    }
}

/// Where the profile is when nobody says otherwise (XDG Base Directory Specification).
///
/// # Errors
/// [`ProfileError::NoPlace`] without a home directory.
pub fn default_path(variables: Variables<'_>) -> Result<PathBuf, ProfileError> {
    // The specification has relative paths ignored.
    let directory = |name| variables(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = directory("XDG_CONFIG_HOME")
        .or_else(|| directory("HOME").map(|home| home.join(".config")))
        .ok_or(ProfileError::NoPlace)?;
    Ok(config.join("token-ledger").join("profile.toml"))
}

fn read(path: &Path) -> Result<RawProfile, ProfileError> {
    let unreadable = |source| ProfileError::Unreadable { path: path.to_owned(), source };
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(ProfileError::NotThere { path: path.to_owned() });
        }
        opened => opened.map_err(unreadable)?,
    };
    // Of the file that was opened, not of whatever has its name by now.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(ProfileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    let malformed = || ProfileError::Malformed { path: path.to_owned() };
    let read = (&mut file).take(PROFILE_BYTES_MAX + 1).read_to_string(&mut text);
    let read = read.map_err(unreadable)?;
    if PROFILE_BYTES_MAX < read as u64 {
        return Err(malformed());
    }
    // The parser's own message would quote the line, and that may be the secret's.
    Figment::from(Toml::string(&text)).extract().map_err(|_| malformed())
}

/// A URL that paths can be put behind and secrets sent to.
fn base_url(text: &str, allow_plain_http: bool) -> Result<Url, NotUsable> {
    let url: Url = text.parse().map_err(|_| NotUsable::Url)?;
    let bare = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    match url.scheme() {
        "https" | "http" if !bare => Err(NotUsable::Url),
        "https" => Ok(url),
        "http" if allow_plain_http || is_this_host(&url) => Ok(url),
        "http" => Err(NotUsable::PlainHttp),
        _ => Err(NotUsable::Url),
    }
}

fn is_this_host(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
