//! The functions that templates may call, by name: Go's own, and those of Prometheus' rules and of Alertmanager's messages.

use super::Vocabulary;

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:expr, $whose:ident;)*) => {
        /// A function with the numbers of arguments that it takes, and who knows it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Function { $($variant),* }

        impl Function {
            fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// At least, at most.
            pub(super) const fn arguments(self) -> (usize, usize) {
                match self { $(Self::$variant => ($least, $most)),* }
            }

            const fn whose(self) -> Whose {
                match self { $(Self::$variant => Whose::$whose),* }
            }
        }
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    All,
    Rules,
    Messages,
}

const MANY: usize = 64;

functions! {
    And "and" 1 MANY, All;
    Or "or" 1 MANY, All;
    Not "not" 1 1, All;
    Eq "eq" 2 MANY, All;
    Ne "ne" 2 2, All;
    Lt "lt" 2 2, All;
    Le "le" 2 2, All;
    Gt "gt" 2 2, All;
    Ge "ge" 2 2, All;
    Index "index" 1 MANY, All;
    Slice "slice" 1 4, All;
    Len "len" 1 1, All;
    Print "print" 0 MANY, All;
    Println "println" 0 MANY, All;
    Printf "printf" 1 MANY, All;
    Html "html" 0 MANY, All;
    Js "js" 0 MANY, All;
    Urlquery "urlquery" 0 MANY, All;
    Title "title" 1 1, All;
    ToUpper "toUpper" 1 1, All;
    ToLower "toLower" 1 1, All;
    Match "match" 2 2, All;
    ReReplaceAll "reReplaceAll" 3 3, All;
    HumanizeDuration "humanizeDuration" 1 1, All;
    SafeHtml "safeHtml" 1 1, All;
    Humanize "humanize" 1 1, Rules;
    Humanize1024 "humanize1024" 1 1, Rules;
    HumanizePercentage "humanizePercentage" 1 1, Rules;
    HumanizeTimestamp "humanizeTimestamp" 1 1, Rules;
    ParseDuration "parseDuration" 1 1, Rules;
    StripPort "stripPort" 1 1, Rules;
    StripDomain "stripDomain" 1 1, Rules;
    ExternalUrl "externalURL" 0 0, Rules;
    Append "append" 1 MANY, Messages;
    Base64Decode "base64decode" 1 1, Messages;
    Base64Encode "base64encode" 1 1, Messages;
    Date "date" 2 2, Messages;
    Dict "dict" 0 MANY, Messages;
    Join "join" 2 2, Messages;
    List "list" 0 MANY, Messages;
    Now "now" 0 0, Messages;
    SafeUrl "safeUrl" 1 1, Messages;
    Since "since" 1 1, Messages;
    StringSlice "stringSlice" 0 MANY, Messages;
    ToJson "toJson" 1 1, Messages;
    TrimSpace "trimSpace" 1 1, Messages;
    Tz "tz" 2 2, Messages;
    UrlUnescape "urlUnescape" 1 1, Messages;
}

/// Known to Prometheus or Alertmanager and not here, with what to do instead.
const WITHOUT: &[(&str, Whose, &str)] = &[
    ("query", Whose::Rules, ASK),
    ("first", Whose::Rules, ASK),
    ("value", Whose::Rules, ASK),
    ("label", Whose::Rules, ASK),
    ("strvalue", Whose::Rules, ASK),
    ("sortByLabel", Whose::Rules, ASK),
    ("tableLink", Whose::Rules, ASK),
    ("graphLink", Whose::Rules, ASK),
    ("args", Whose::Rules, ASK),
    ("tmpl", Whose::Rules, ASK),
    ("pathPrefix", Whose::Rules, ASK),
    ("toTime", Whose::Rules, ASK),
    ("now", Whose::Rules, ASK),
    ("call", Whose::All, "there are no functions among the facts"),
    ("routeLabels", Whose::Messages, "routes have no labels here"),
    ("toDate", Whose::Messages, "times are times already: use date"),
    ("mustToDate", Whose::Messages, "times are times already: use date"),
];

const ASK: &str = "use the expression's own labels and value";

/// The function of this name.
///
/// # Errors
/// A sentence about one that there is not, or not here.
pub(super) fn function(name: &str, vocabulary: Vocabulary) -> Result<Function, String> {
    let is_known = |whose: Whose| {
        whose == Whose::All
            || whose
                == match vocabulary {
                    Vocabulary::Rules => Whose::Rules,
                    Vocabulary::Messages => Whose::Messages,
                }
    };
    if let Some(found) = Function::from_name(name).filter(|function| is_known(function.whose())) {
        return Ok(found);
    }
    let without = WITHOUT
        .iter()
        .find(|(known, whose, _)| *known == name && is_known(*whose));
    Err(without.map_or_else(
        || format!("unknown function {name}"),
        |(_, _, instead)| format!("function {name} is not supported here: {instead}"),
    ))
}
