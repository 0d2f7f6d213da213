//! The one way to a cluster's API: what a caller typed becomes a request that is checked, whole and known for what it
//! can do, before anything of it is sent.

use super::clusters::told;
use super::confirm::{Bound, Unconfirmed};
use super::desk::{Act, Visit};
use super::operation::{forgotten, join_query, known, method, on_path, with_method};
use super::place::{Sight, from_the_top};
use super::shape::push_plain;
use super::teach;
use super::touch::Touched;
use super::units::push_bytes;
use crate::audit::{Decision, Event};
use crate::cancel::Cancel;
use crate::mcp::catalog::Stop;
use crate::mcp::context::Context;
use crate::policy::{LIFT, Risk};
use crate::pve::Method;
use crate::pve::cluster::{Answer, Cluster};
use crate::pve::error::Error;
use crate::pve::params::Params;
use crate::pve::path::{ApiPath, is_placeholder};
use crate::pve::schema::check;
use crate::redact;
use serde_json::{Map, Value};
use std::fmt::{Display, Write};
use std::time::Instant;

/// The rows that are asked for where a list that Proxmox sends in pages is to be filtered or sorted: of its first page
/// alone (50 rows) the answer would be wrong.
const WHOLE: u32 = 5_000;

/// The most parameters of one call; the largest operation has some hundred, some of them in numbers.
const MAX_PARAMETERS: usize = 500;

/// The most bytes of them; a node takes 512 KiB (PVE: AnyEvent's limit of a request).
const MAX_BYTES: usize = 640 << 10;

/// The longest question that anybody reads before agreeing.
const MAX_QUESTION: usize = 8 << 10;

/// Guests that a question shows.
const SHOWN: usize = 8;

/// What a caller wants to be done.
pub(super) struct Wanted<'a> {
    /// How.
    pub(super) method: Option<Method>,
    /// Where, as it was typed.
    pub(super) path: &'a str,
    /// With what.
    pub(super) data: Option<&'a Map<String, Value>>,
    /// Whether a list is wanted whole, because it is to be filtered or sorted.
    pub(super) whole: bool,
}

/// Who asks, and whom.
pub(super) struct Asker<'a> {
    visit: Visit<'a>,
    cluster: &'a Cluster,
    cancel: &'a Cancel,
    sight: Sight<'a>,
}

/// A request that may be sent.
pub(super) struct Request {
    method: Method,
    path: ApiPath,
    params: Params,
    risk: Risk,
    /// The path of its operation, with placeholders: as the facts of this program have it, else as the cluster does;
    /// `None` where neither knows it.
    template: Option<String>,
    /// Whether the facts of this program know the operation, as the cluster describes it.
    known: bool,
    /// Whether it was confirmed, or need not be.
    decision: Decision,
    /// What the operation does, and what it needs; both empty where it isn't known.
    summary: String,
    needs: String,
    /// Whether the operation needs no privilege: then Proxmox may leave out what the token may not see.
    filtered: bool,
    /// Whether Proxmox sends its list in pages.
    paged: bool,
    /// What was filled in or put right.
    pub(super) notes: Vec<String>,
}

impl<'a> Asker<'a> {
    /// For one tool call.
    pub(super) fn new(visit: Visit<'a>, cluster: &'a Cluster, cancel: &'a Cancel) -> Self {
        Self { visit, cluster, cancel, sight: Sight::new(visit, cluster, cancel) }
    }

    /// Makes a request of what a caller wants, and sees whether it may be sent. The error says what is wrong and what to
    /// write instead; nothing was sent but what had to be looked up.
    pub(super) fn prepare(&self, wanted: &Wanted<'_>) -> Result<Request, String> {
        self.make(wanted, false).map_err(|why| {
            // A cluster that could not be looked at may have said so already.
            let more = if why.contains("Nothing was ") { "" } else { ". Nothing was sent" };
            self.visit.shown(self.cluster, self.told(&format_args!("{why}{more}")))
        })
    }

    fn told(&self, what: &dyn Display) -> String {
        told(self.visit.manager, self.cluster, what)
    }

    /// Refuses a request that has to be confirmed, where no confirmation can be given.
    pub(super) fn unasked(&self, request: &Request) -> Result<(), String> {
        if !self.cluster.settings().rules.asks(request.risk) {
            return Ok(());
        }
        let why = format!("{} ({}) has to be confirmed, which takes proxmox_api_call", request.line(), request.risk);
        Err(self.told(&format_args!("{why}. Nothing was sent")))
    }

    /// Lets a request pass that is confirmed, by `code` or by the user of the client, or need not be.
    ///
    /// # Errors
    /// It has to be confirmed first: the question.
    pub(super) fn confirm(&self, request: &mut Request, context: &Context<'_>, code: Option<&str>) -> Result<(), Stop> {
        if !self.cluster.settings().rules.asks(request.risk) {
            return Ok(());
        }
        let bound = Bound {
            client: &self.visit.caller.client.name,
            cluster: &self.cluster.settings().name,
            line: &request.line(),
            data: &request.params.encode(),
        };
        let question = self.question(request);
        if question.len() > MAX_QUESTION {
            return Err(Stop::Failed(self.told(&format_args!(
                "this has to be confirmed, and is too long to be read by whoever confirms it ({} bytes): send less at \
                 once. Nothing was sent",
                question.len()
            ))));
        }
        match self.visit.desk.codes.check(context, code, &bound, &question) {
            Ok(()) => {
                request.decision = Decision::Confirmed;
                Ok(())
            }
            Err(Unconfirmed::Asked(stop)) => {
                self.visit.asked(request.act(self.cluster));
                Err(stop)
            }
            Err(Unconfirmed::No(why)) => {
                let said = self.visit.refused(request.act(self.cluster), why);
                Err(Stop::Failed(self.told(&format_args!("{said}. Nothing was sent"))))
            }
        }
    }

    /// What is to be confirmed, from what is known of it and not from what anybody says of it.
    fn question(&self, request: &Request) -> String {
        let mut text = format!("{} on cluster {}\n", request.line(), self.cluster.settings().name);
        request.explain(&mut text, &push_whole);
        let touched = request.touched();
        if touched.is_nothing() {
            return text;
        }
        match self.sight.known() {
            Err(why) => drop(writeln!(text, "Which guests it reaches can't be seen: {}", redact::text(why))),
            Ok(guests) => {
                for guest in touched.among(guests).take(SHOWN) {
                    let _ = write!(text, "Guest {} `", guest.vmid);
                    push_plain(&mut text, &redact::text(&guest.name));
                    let about = format!("`, {}, {} on {}", guest.kind.as_str(), guest.status, guest.node);
                    push_plain(&mut text, &redact::text(&about));
                    for (what, bytes) in [("memory", guest.maxmem), ("first disk", guest.maxdisk)] {
                        if let Some(bytes) = bytes {
                            let _ = write!(text, ", {what} ");
                            push_bytes(&mut text, bytes as f64);
                        }
                    }
                    text.push('\n');
                }
                let more = touched.among(guests).count().saturating_sub(SHOWN);
                if more > 0 {
                    let _ = writeln!(text, "and {more} guests more");
                }
            }
        }
        text
    }

    /// Sends it and waits for the answer; a GET for a guest that is elsewhere is asked there. What may change something
    /// is written down before and after; where it can't be, it is not sent.
    pub(super) fn send(&self, request: &mut Request, wanted: &Wanted<'_>) -> Result<Answer, String> {
        let reads = request.risk.reads();
        if !reads {
            let opened = self.visit.open(request.act(self.cluster), request.decision);
            opened.map_err(|why| self.told(&format_args!("{why}. Nothing was sent")))?;
        }
        let mut answer = self.call(request);
        if !request.changes()
            && answer.as_ref().is_err_and(teach::is_elsewhere)
            && let Ok(there) = self.make(wanted, true)
            && there.path != request.path
            && there.risk == request.risk
        {
            *request = there;
            answer = self.call(request);
        }
        match answer {
            Ok(answer) => {
                let answer = self.visit.answered(self.cluster, answer);
                request.remark(&answer);
                Ok(answer)
            }
            Err(error) => {
                let more = teach::more(self.visit, self.cluster, &request.path, &error, self.cancel);
                let notes: String = request.notes.iter().map(|note| format!(" ({note})")).collect();
                let said = self.told(&error) + &more + &notes;
                Err(self.visit.shown(self.cluster, said))
            }
        }
    }

    /// One call, written down once it has ended.
    fn call(&self, request: &Request) -> Result<Answer, Error> {
        let begun = Instant::now();
        let answer = self.cluster.call(request.method, &request.path, &request.params, self.cancel);
        let event = if request.risk.reads() { Event::Call } else { Event::End };
        let upid = answer.as_ref().ok().map(|answer| answer.data().trim_matches('"'));
        let upid = upid.filter(|text| text.starts_with("UPID:"));
        let act = request.act(self.cluster);
        self.visit.close(act, event, request.decision, answer.as_ref().err(), upid, begun);
        answer
    }

    /// `look`: whether to see where the guest is though the path says it.
    fn make(&self, wanted: &Wanted<'_>, look: bool) -> Result<Request, String> {
        let (method, typed) = method(wanted.path, wanted.method)?;
        let (path, query) = ApiPath::parse_template(typed)?;
        self.prejudge(method, &path)?;
        // A write goes to nothing that was not looked at.
        let place = self.sight.fill_in(&path, look || method != Method::Get)?;
        let mut data = wanted.data.cloned().unwrap_or_default();
        join_query(&mut data, &query)?;
        if data.len() > MAX_PARAMETERS {
            return Err(format!(
                "{} parameters are more than any operation has: give {MAX_PARAMETERS} at most",
                data.len()
            ));
        }

        let bytes = serde_json::to_vec(&data).map_or(0, |text| text.len());
        if bytes > MAX_BYTES {
            return Err(format!(
                "the parameters have {bytes} bytes, more than any node takes: give {MAX_BYTES} at most"
            ));
        }

        let schema = self.cluster.schema(self.cancel);
        let mut request = Request {
            method,
            path: place.path,
            params: Params::new(),
            risk: Risk::UNKNOWN,
            template: None,
            known: false,
            decision: Decision::Allowed,
            summary: String::new(),
            needs: String::new(),
            filtered: false,
            paged: false,
            notes: Vec::new(),
        };
        let found = on_path(&schema, &request.path);
        match found.and_then(|found| with_method(&found, &request.path, method).map(|operation| (found, operation))) {
            Ok((found, operation)) => {
                let given = |name| operation.parameter(name).is_some();
                request.paged =
                    method == Method::Get && given("limit") && given("start") && !data.contains_key("limit");
                if request.paged && wanted.whole {
                    data.insert("limit".into(), WHOLE.into());
                }
                self.sight.number_guests(&operation, &mut data)?;
                request.params = check::check(&operation, &found, &data).map_err(|wrong| {
                    wrong.join("; ") + &forgotten(wanted, &found, &data) + ". describe_api has all parameters"
                })?;
                let known = known(method, &request.path);
                let same = known.filter(|known| known.template() == operation.template());
                request.risk = same.map_or(Risk::UNKNOWN, |same| same.risk()).with(request.params.iter());
                request.known = same.is_some();
                request.template = Some(known.unwrap_or(operation).template().to_owned());
                request.summary = operation.summary().to_owned();
                request.needs = operation.privileges().to_owned();
                request.filtered = method == Method::Get && operation.privileges().is_empty();
            }
            // The facts of this program may be older or newer than the cluster: it judges for itself.
            Err(_) if !schema.is_live() => {
                request.params = Params::from_json(&data).map_err(|problems| problems.join("; "))?;
            }
            Err(why) => return Err(why),
        }
        let corrected = if place.corrected { ", so it was asked for there" } else { "" };
        if let Some(note) = place.note.filter(|_| place.corrected || request.changes()) {
            // Who names the wrong kind of guest may mean another one, or another cluster.
            if place.other_kind && request.risk.lasting && request.changes() {
                return Err(format!("{note}, and what can't be undone is not put right: write {}", request.line()));
            }
            request.notes.push(self.visit.shown(self.cluster, note + corrected));
        }
        self.judge(&request)?;
        Ok(request)
    }

    /// What is refused on any path alike is refused before anything is looked up for it.
    fn prejudge(&self, method: Method, path: &ApiPath) -> Result<(), String> {
        let path = from_the_top(path)?;
        let Some(known) = known(method, &path) else { return Ok(()) };
        let segments: Vec<_> = path.segments().collect();
        let (client, rules) = (&self.visit.caller.client, &self.cluster.settings().rules);
        let act = Act { cluster: self.cluster, method, path: &path, params: &Params::new() };
        let lets = rules.lets(&client.name, client.rights, known.risk());
        lets.map_err(|why| self.visit.refused(act, format!("{method} {path}: {why}")))?;
        let guest = segments.iter().skip_while(|s| !matches!(s.as_ref(), "qemu" | "lxc")).nth(1);
        let named = guest.is_some_and(|guest| !guest.bytes().all(|b| b.is_ascii_digit()));
        if named || segments.iter().any(|segment| is_placeholder(segment)) {
            return Ok(());
        }
        self.visit.judge(act, Some(known.template()), known.risk())
    }

    fn judge(&self, request: &Request) -> Result<(), String> {
        let (act, rules) = (request.act(self.cluster), &self.cluster.settings().rules);
        self.visit.judge(act, request.template.as_deref(), request.risk)?;
        if rules.protect.is_empty() || request.risk.reads() {
            return Ok(());
        }
        let reaches = request.touched().check(rules, &self.sight);
        reaches.map_err(|why| self.visit.refused(act, format!("{}: {why}{LIFT}", request.line())))
    }
}

impl Request {
    /// Notes what an answer doesn't say of itself.
    fn remark(&mut self, answer: &Answer) {
        let note = match answer.data() {
            "[]" if self.filtered => {
                "the list is empty: nothing is there, or the token may see none of it (GET /access/permissions shows its \
                 rights)"
            }
            "null" if self.changes() && self.path.as_str().ends_with("/config") => {
                "done. Of a guest that runs, some changes wait for its restart: GET …/pending shows them"
            }
            "null" if self.changes() => "done",
            _ if self.paged && self.params.is_empty() && answer.has_more() => {
                "Proxmox sends such a list in pages: params limit and start move on"
            }
            _ => return,
        };
        self.notes.push(note.into());
    }

    /// What would be sent, and what it can do.
    pub(super) fn shown(&self, cluster: &Cluster) -> String {
        let mut text =
            format!("Nothing was sent. This would be: {} on cluster {}\n", self.line(), cluster.settings().name);
        self.explain(&mut text, &|text, value| {
            push_plain(text, value);
        });
        text.push_str("Whether names and values fit, only Proxmox knows.\n");
        if cluster.settings().rules.asks(self.risk) {
            text.push_str("It has to be confirmed before it is sent.\n");
        }
        text
    }

    /// With what, what it is, and what it can do.
    fn explain(&self, text: &mut String, push: &dyn Fn(&mut String, &str)) {
        for (name, value) in self.params.iter() {
            let _ = write!(text, "  {name} = ");
            // On its line, whatever it holds.
            push(text, &redact::value(name, value));
            text.push('\n');
        }
        if self.summary.is_empty() {
            text.push_str("It is not in this program's facts of the API, nor in the cluster's description of it.\n");
        } else {
            let _ = writeln!(text, "It is: {}", self.summary);
        }
        let _ = write!(text, "Risk: {}", self.risk);
        if !self.needs.is_empty() {
            let _ = write!(text, "; needs {}", self.needs);
        }
        text.push_str(".\n");
    }

    fn act<'r>(&'r self, cluster: &'r Cluster) -> Act<'r> {
        Act { cluster, method: self.method, path: &self.path, params: &self.params }
    }

    fn touched(&self) -> Touched {
        let known = self.template.as_deref().filter(|_| self.known);
        Touched::of(&self.path, known, &self.params, self.risk)
    }

    /// Whether it may change anything.
    pub(super) fn changes(&self) -> bool {
        self.method != Method::Get
    }

    /// Method and path as they are sent.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// All of a value on its line: nobody can agree to what they did not see, behind blanks or line ends.
fn push_whole(text: &mut String, value: &str) {
    let mut blanks = 0;
    for c in value.chars().chain(['\0']) {
        if c == ' ' {
            blanks += 1;
            continue;
        }
        match std::mem::take(&mut blanks) {
            0 => {}
            n @ 1..=3 => (0..n).for_each(|_| text.push(' ')),
            n => drop(write!(text, " [{n} spaces] ")),
        }
        match c {
            '\0' => {}
            '\n' | '\r' | '\t' => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
}
