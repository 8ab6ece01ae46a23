//! The pages keep to the code: each promise of the README has its tests, and each file that a page names is there.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A promise, by the words that stand in bold in the README, and the tests that it is named in.
const PROMISES: &[(&str, &[&str])] = &[
    (
        "Exactly the bytes and the length",
        &[
            "every_length_arrives_with_its_length",
            "a_long_message_comes_in_rounds",
            "any_sequence_of_messages_arrives_at_every_capacity",
            "every_edge_length_arrives_both_ways",
        ],
    ),
    (
        "Acknowledged is not lost.",
        &[
            "what_was_acknowledged_is_not_lost_with_publisher_and_consumer",
            "a_publisher_killed_at_any_step_of_an_inline_message",
            "a_consumer_killed_at_any_step_of_an_inline_message",
            "a_publisher_killed_at_any_piece_of_a_message_that_flows",
            "a_consumer_killed_at_any_piece_of_a_message_that_flows",
            "a_consumer_that_seems_to_want_keeps_nothing_from_being_published",
            "worker_restarted_loses_no_job_and_does_none_twice",
        ],
    ),
    (
        "Nothing hangs.",
        &[
            "the_survivor_of_a_kill_is_told_within_a_tenth_of_a_second",
            "limits_end_every_wait",
            "whoever_waits_for_a_seat_gets_it_when_its_holder_leaves_or_dies",
            "many_callers_take_the_publishers_seat_for_a_call_each",
            "a_death_on_a_private_channel_is_told_each_time_until_who_has_it_open_sits_down",
            "on_a_persistent_channel_leaving_is_no_news_and_a_death_is_told_once",
            "a_limit_ends_a_flow_in_the_middle_at_either_end",
            "what_became_of_a_flow_whose_consumer_died_is_told_as_it_is",
            "who_stops_at_the_door_makes_the_others_stuck_and_not_hang",
        ],
    ),
    (
        "Nothing is left behind",
        &[
            "the_last_end_removes_the_names_unless_a_message_waits",
            "a_maker_killed_at_any_step_leaves_what_create_makes_a_new_one_of",
            "a_remover_killed_at_any_step_leaves_the_rest_to_the_next",
            "a_channel_that_finds_no_space_says_how_much_and_leaves_nothing",
            "a_private_channel_leaves_nothing_whoever_is_killed_once_both_ends_are_attached",
            "a_comer_to_a_private_channel_killed_at_any_step_leaves_its_place_or_no_name",
            "a_maker_of_a_private_channel_killed_at_any_step_leaves_the_comer_alone_or_its_place",
            "a_maker_killed_after_a_comer_that_was_killed_leaves_what_its_name_removes",
            "another_users_private_names_go_when_their_owner_leaves",
            "without_descriptors_a_private_channel_loses_its_names_all_the_same",
            "many_callers_are_served_and_leave_nothing_whoever_is_killed",
            "a_persistent_channel_keeps_its_name_and_its_message_until_somebody_consumes_it",
        ],
    ),
    (
        "No system call while both are busy, no CPU while both wait.",
        &[
            "a_busy_consumer_asks_nothing_of_the_system",
            "a_busy_publisher_asks_nothing_of_the_system",
            "a_consumer_that_waits_uses_no_processor",
            "a_caller_that_waits_uses_no_processor",
        ],
    ),
    (
        "A peer's bytes are input.",
        &[
            "every_byte_of_the_header_may_turn_into_anything_while_both_ends_work",
            "every_byte_of_the_header_may_be_anything_when_a_channel_is_opened",
            "a_storm_of_wrong_bytes_ends_every_operation_in_time",
            "a_filler_that_says_more_than_can_be_is_corrupt",
            "a_drainer_that_says_more_than_can_be_is_corrupt",
            "a_turn_that_changes_in_the_middle_of_a_flow_ends_it",
        ],
    ),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below `folder` that ends in `ending`.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            found.push(path);
        }
    }
    found
}

#[test]
fn each_promise_of_the_readme_has_its_tests() {
    let readme = read(&root().join("README.md"));
    let section = readme.split("\n## ").find(|section| section.starts_with("What it promises")).unwrap();
    let promised: BTreeSet<&str> =
        section.lines().filter_map(|line| line.strip_prefix("* **")?.split("**").next()).collect();
    let tested: BTreeSet<&str> = PROMISES.iter().map(|(promise, _)| *promise).collect();
    assert_eq!(promised, tested, "what the README promises, and what is listed here");
    let tests: String = files(&root().join("tests"), ".rs").iter().map(|path| read(path)).collect();
    for (promise, names) in PROMISES {
        for name in *names {
            assert!(tests.contains(&format!("#[test]\nfn {name}()")), "{promise}: there is no test {name}");
        }
    }
}

#[test]
fn each_file_that_a_page_names_is_there() {
    let mut pages = files(&root().join("docs"), ".md");
    pages.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root().join(page)));
    for page in pages {
        let text = read(&page);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)));
        for word in words {
            let word = word.trim_end_matches('.');
            if ["src/", "tests/", "docs/", "ci/", "examples/", "benches/"].iter().any(|home| word.starts_with(home)) {
                assert!(root().join(word).exists(), "{}: there is no {word}", page.display());
            }
        }
    }
}
