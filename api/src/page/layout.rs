//! The frame around every page: header, tenants, banner, footer.

use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::response::{Html, IntoResponse, Response};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::app::App;
use crate::params::{DEFAULT_TENANT, Scope};
use crate::problem::Problem;

use super::asset;

/// Where in the site a page belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Hosts,
    Alerts,
    Models,
    Agents,
    Explore,
}

/// The frame of a page.
struct Frame<'a> {
    app: &'a App,
    tenant: &'a str,
    section: Section,
    title: &'a str,
}

impl Frame<'_> {
    /// The whole page around `main`.
    fn page(&self, main: &Markup) -> Response {
        let tenants = self.app.tenants().names();
        let firing = self.app.board().rules(self.tenant).firing();
        let tab = |section: Section, path: &str, name: &str| {
            let current = (section == self.section).then_some("page");
            html! { a href=(href(path, self.tenant)) aria-current=[current] { (name)
                @if section == Section::Alerts && firing > 0 { span.count title="firing" { (firing) } }
            } }
        };
        let page = html! {
            (DOCTYPE)
            html lang="en" data-tenant=(self.tenant) {
                head { (head(self.title)) }
                body {
                    a.skip href="#main" { "Skip to content" }
                    header.top #top data-live="" {
                        div.in {
                            a.brand href=(href("/", self.tenant)) { (mark()) "Foreshock" }
                            nav aria-label="Sections" {
                                (tab(Section::Hosts, "/", "Hosts"))
                                (tab(Section::Alerts, "/alerts", "Alerts"))
                                (tab(Section::Models, "/models", "Models"))
                                (tab(Section::Agents, "/agents", "Agents"))
                                (tab(Section::Explore, "/explore", "Explore"))
                            }
                            @if tenants.len() > 1 {
                                div.tenants role="navigation" aria-label="Tenants" {
                                    span.muted { "Tenant" }
                                    @for name in &tenants {
                                        a href=(href(self.section.path(), name)) aria-current=[(name == self.tenant).then_some("true")] { (name) }
                                    }
                                }
                            }
                        }
                    }
                    @if let Some(banner) = self.app.banner() { div.banner { div { (banner) } } }
                    main #main { (main) }
                    footer {
                        span { "Foreshock " (self.app.build().version) }
                        a href="/metrics" { "Own metrics" }
                        a href=(href("/api/v1/hosts", self.tenant)) { "This as JSON" }
                    }
                }
            }
        };
        // The data behind a page are seconds old at most; an old copy would look alive and be wrong.
        ([(CACHE_CONTROL, "no-store")], Html(page.into_string())).into_response()
    }

    /// The page that stands where another one could not be made.
    fn failure(&self, problem: &Problem) -> Response {
        let mut response = self.page(&html! {
            div.card { div.empty role="alert" {
                strong { (problem.detail()) }
                @if let Some(hint) = problem.hint_text() { p { (hint) } }
                p { a href=(href("/", DEFAULT_TENANT)) { "Back to the hosts" } }
            } }
        });
        *response.status_mut() = problem.kind().status();
        response
    }
}

/// Answers with the page of `section` whose inside `body` makes, or with one that says why there is none.
pub(crate) async fn answer(
    app: &App,
    request: Request,
    section: Section,
    title: &str,
    body: impl AsyncFnOnce(&Scope) -> Result<Markup, Problem>,
) -> Response {
    let frame = |tenant| Frame {
        app,
        tenant,
        section,
        title,
    };
    let scope = match Scope::read(app, request).await {
        Ok(scope) => scope,
        Err(problem) => return frame(DEFAULT_TENANT).failure(&problem),
    };
    match body(&scope).await {
        Ok(main) => frame(&scope.tenant).page(&main),
        Err(problem) => frame(&scope.tenant).failure(&problem),
    }
}

/// What a browser is told before anything is shown.
pub(crate) fn head(title: &str) -> Markup {
    let version = asset::version();
    html! {
        meta charset="utf-8";
        meta name="viewport" content="width=device-width, initial-scale=1";
        meta name="color-scheme" content="light dark";
        title { (title) " · Foreshock" }
        link rel="icon" href="/favicon.svg" type="image/svg+xml";
        link rel="stylesheet" href={ "/page.css?v=" (version) };
        script defer src={ "/page.js?v=" (version) } {}
    }
}

impl Section {
    const fn path(self) -> &'static str {
        match self {
            Self::Hosts => "/",
            Self::Alerts => "/alerts",
            Self::Models => "/models",
            Self::Agents => "/agents",
            Self::Explore => "/explore",
        }
    }
}

/// `path` with the tenant, which is left out where it is the default one. `path` may have a query already.
pub(crate) fn href(path: &str, tenant: &str) -> String {
    if tenant == DEFAULT_TENANT {
        return path.to_owned();
    }
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}tenant={}", encoded(tenant))
}

/// `text` as a segment of a path or a value of a query (RFC 3986: only unreserved characters stay).
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What stands where there is nothing to show.
pub(crate) fn empty(what: &str, why: &Markup) -> Markup {
    html! { div.empty { strong { (what) } (why) } }
}

fn mark() -> Markup {
    PreEscaped(
        r#"<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M1 12h3.2l1.6-3.4 2.1 6.6 2.6-11 2.2 9.3 1.4-3.5H19" fill="none" stroke="currentColor" stroke-width="1.9" stroke-linecap="round" stroke-linejoin="round"/></svg>"#
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_the_tenant_and_escape_what_hosts_are_called() {
        assert_eq!(href("/alerts", "default"), "/alerts");
        assert_eq!(href("/alerts", "fleet"), "/alerts?tenant=fleet");
        assert_eq!(href("/explore?q=up", "fleet"), "/explore?q=up&tenant=fleet");
        assert_eq!(encoded("rack 1/é<\"x\">&"), "rack%201%2F%C3%A9%3C%22x%22%3E%26");
    }
}
