//! Where settings come from, and what to tell the operator when one of them is wrong. An unknown
//! key is an error in every source: a misspelt bound must not silently be the default.

use std::collections::BTreeMap;
use std::path::Path;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::ConfigFault;
use super::settings::{Kind, RawConfig, SETTINGS, Setting};

/// What the names of our environment variables begin with.
pub const ENVIRONMENT_PREFIX: &str = "TOKEN_LEDGER_";

/// The settings that have a flag of their own; the others are given as `--set KEY=VALUE`.
pub const OWN_FLAGS: [&str; 5] =
    ["listen", "admin_listen", "tls_certificate_file", "tls_key_file", "behind_proxy"];

/// All sources, weakest first.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The configuration file, if one was named.
    pub file: Option<ConfigFile>,
    /// Environment variables; those without our prefix are passed over.
    pub environment: Vec<(String, String)>,
    /// Variables with our prefix that are no settings, by their full names: the command line's.
    pub environment_apart: Vec<String>,
    /// Flags that were given, by the key of their setting.
    pub flags: Vec<(String, String)>,
}

/// A configuration file as it was read.
#[derive(Debug, Clone)]
pub struct ConfigFile {
    /// Its path, for messages.
    pub name: String,
    /// Its TOML.
    pub text: String,
}

impl ConfigFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ConfigFault`] when it cannot be read as UTF-8 text; nothing was changed.
    pub fn read(path: &Path) -> Result<Self, ConfigFault> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Ok(Self { name, text }),
            Err(error) => Err(ConfigFault {
                key: name,
                what: format!("the configuration file cannot be read: {error}"),
                remedy: "name a readable file of UTF-8 text".to_owned(),
            }),
        }
    }
}

/// The process's environment variables with our prefix.
pub fn environment_variables() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with(ENVIRONMENT_PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// The sources on top of each other, and where each key was set last.
pub(super) struct Merged {
    figment: Figment,
    origins: BTreeMap<String, String>,
}

/// One source, read.
struct Layer {
    name: &'static str,
    values: Dict,
}

impl Merged {
    pub(super) fn new(sources: &Sources) -> Result<Self, ConfigFault> {
        let mut merged = Self { figment: Figment::new(), origins: BTreeMap::new() };
        if let Some(file) = &sources.file {
            merged.add_file(file)?;
        }
        let environment = sources.environment.iter().filter_map(|(name, value)| {
            let key = name.strip_prefix(ENVIRONMENT_PREFIX)?.to_ascii_lowercase();
            let apart = sources.environment_apart.contains(name);
            (!apart).then(|| (key, value, format!("the environment variable {name}")))
        });
        merged.add_texts("environment", environment)?;
        let flags = sources.flags.iter().map(|(key, value)| {
            let flag = match OWN_FLAGS.contains(&key.as_str()) {
                true => key.replace('_', "-"),
                false => format!("set {key}"),
            };
            (key.clone(), value, format!("the flag --{flag}"))
        });
        merged.add_texts("flags", flags)?;
        Ok(merged)
    }

    /// The settings that were given, over the defaults.
    pub(super) fn extract(&self) -> Result<RawConfig, ConfigFault> {
        self.figment.extract().map_err(|error| {
            let key = error.path.join(".");
            let remedy = Setting::named(&key).map_or_else(
                || "see the reference of the configuration".to_owned(),
                |setting| match setting.kind {
                    Kind::Text { range, .. } => format!("set it to {range}, in quotes"),
                    Kind::Number { .. } => format!("set it to a number, {}", setting.range()),
                },
            );
            self.locate(ConfigFault { key, what: error.kind.to_string(), remedy })
        })
    }

    /// The same fault, with the source that it came from.
    pub(super) fn locate(&self, mut fault: ConfigFault) -> ConfigFault {
        if let Some(origin) = self.origins.get(&fault.key) {
            fault.what = format!("{}, in {origin}", fault.what);
        }
        fault
    }

    fn add_file(&mut self, file: &ConfigFile) -> Result<(), ConfigFault> {
        let mut profiles = Toml::string(&file.text).data().map_err(|error| ConfigFault {
            key: file.name.clone(),
            what: format!("not TOML: {}", error.kind.to_string().trim_end().replace('\n', " ")),
            remedy: "correct the file".to_owned(),
        })?;
        let values = profiles.remove(&Profile::Default).unwrap_or_default();
        for key in values.keys() {
            self.note(key, format!("the file {}", file.name))?;
        }
        self.add(Layer { name: "file", values });
        Ok(())
    }

    fn add_texts<'a>(
        &mut self,
        name: &'static str,
        texts: impl Iterator<Item = (String, &'a String, String)>,
    ) -> Result<(), ConfigFault> {
        let mut values = Dict::new();
        for (key, text, origin) in texts {
            if values.contains_key(&key) {
                let what = format!("it is given more than once, the last time in {origin}");
                let remedy = "give it once: neither comes over the other".to_owned();
                return Err(ConfigFault { key, what, remedy });
            }
            let setting = self.note(&key, origin)?;
            let value = match (setting.kind, text.parse::<u64>()) {
                (Kind::Number { .. }, Ok(number)) => Value::from(number),
                (Kind::Number { .. }, Err(_)) | (Kind::Text { .. }, _) => {
                    Value::from(text.as_str())
                }
            };
            values.insert(key, value);
        }
        self.add(Layer { name, values });
        Ok(())
    }

    /// Remembers where `key` was set, if there is such a key.
    fn note(&mut self, key: &str, origin: String) -> Result<&'static Setting, ConfigFault> {
        let Some(setting) = Setting::named(key) else {
            return Err(ConfigFault {
                key: key.to_owned(),
                what: format!("there is no such setting, in {origin}"),
                remedy: nearest(key).map_or_else(
                    || "see which there are".to_owned(),
                    |known| format!("perhaps {known} is meant"),
                ),
            });
        };
        self.origins.insert(key.to_owned(), origin);
        Ok(setting)
    }

    fn add(&mut self, layer: Layer) {
        self.figment = std::mem::take(&mut self.figment).merge(layer);
    }
}

/// The known key that takes the fewest changes to reach, if most of what was written stays.
fn nearest(key: &str) -> Option<&'static str> {
    let written = key.to_ascii_lowercase().replace('-', "_");
    let known = SETTINGS.iter().map(|setting| setting.key);
    let changes = known.map(|known| (strsim::damerau_levenshtein(&written, known), known));
    let (fewest, known) = changes.min()?;
    (fewest * 2 <= written.len()).then_some(known)
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.values.clone())]))
    }
}
