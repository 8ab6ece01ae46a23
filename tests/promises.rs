//! The pages keep to the code: each promise of the README, of block files and of sessions has its tests, and each file
//! that a page names is there.
#![allow(missing_docs)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A promise of the README, by the words that stand in bold there, and the tests that it is named in.
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
            "after_a_death_at_any_step_the_census_removes_all_that_is_left",
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

/// Those of block files, by the words that stand in bold at the top of `src/blocks/mod.rs`.
const OF_BLOCKS: &[(&str, &[&str])] = &[
    (
        "What was completed comes to one reader.",
        &[
            "a_file_of_any_shape_comes_whole_and_in_order",
            "four_workers_a_side_move_every_byte_once",
            "four_processes_a_side_move_every_byte_of_a_long_file_once",
            "any_sequence_comes_out_as_the_model_says",
            "what_is_dropped_comes_again_marked",
            "a_reader_killed_at_any_step_alone_is_followed_by_the_next",
            "a_reader_killed_at_any_step_among_others_leaves_them_what_it_had",
            "a_block_whose_readers_die_over_it_comes_again_and_again",
            "any_of_many_may_die_at_any_time_and_nothing_is_lost_or_comes_twice_unmarked",
            "work_pool_loses_no_job_though_a_worker_is_killed",
        ],
    ),
    (
        "What a writer died over goes to another.",
        &[
            "a_dead_writers_range_is_filled_by_the_next_and_a_dead_readers_block_is_read_again",
            "a_writer_killed_at_any_step_alone_is_followed_by_the_next",
            "a_writer_killed_at_any_step_among_others_leaves_them_what_it_had",
            "who_adopts_from_the_dead_and_dies_over_it_is_adopted_from",
            "a_reader_is_told_of_writers_that_left_without_filling_what_they_claimed",
        ],
    ),
    (
        "The end comes once all was read.",
        &[
            "an_empty_block_is_the_end_for_every_writer_and_every_reader",
            "who_dies_over_a_claim_without_a_range_keeps_nobody_from_the_end",
            "a_reader_that_waits_for_the_end_of_a_finished_file_has_no_need_of_writers",
            "who_finishes_waits_for_the_living_and_is_not_told_that_they_left",
            "blocks_may_be_completed_out_of_order_and_leave_holes",
        ],
    ),
    (
        "Nothing hangs.",
        &[
            "limits_end_every_wait_for_a_block",
            "every_labelled_step_is_killed_at",
            "a_reader_is_told_of_writers_that_left_while_it_had_no_need_to_wait",
            "a_writer_is_told_of_readers_that_left_while_it_had_no_need_to_wait",
            "who_is_killed_while_it_cancels_has_cancelled_for_everybody_or_for_nobody",
            "whoever_cancels_after_one_that_was_killed_at_it_is_told_with_its_own_reason",
            "the_end_that_a_killed_process_did_not_tell_is_told_by_whoever_waits",
            "a_writer_that_waits_for_a_block_uses_no_processor",
            "a_reader_that_waits_for_a_block_uses_no_processor",
            "who_finishes_and_waits_for_others_uses_no_processor",
        ],
    ),
    (
        "Nothing is left behind",
        &[
            "a_file_waits_for_its_reader_when_its_writer_has_gone",
            "a_block_that_nobody_has_read_is_kept_until_it_is_asked_for",
            "after_a_death_at_any_step_of_a_block_file_the_census_removes_all_that_is_left",
        ],
    ),
    (
        "A peer's bytes are input.",
        &[
            "every_word_of_the_state_may_be_anything_at_rest",
            "every_word_of_the_state_may_be_anything_when_a_file_is_opened",
            "a_storm_of_wrong_words_ends_every_operation_in_time",
            "a_block_that_is_longer_than_blocks_are_is_corrupt",
            "offsets_that_change_while_a_reader_puts_blocks_in_order_do_no_harm",
        ],
    ),
];

/// Those of sessions, likewise of `src/session/mod.rs`.
const OF_SESSIONS: &[(&str, &[&str])] = &[
    (
        "Every call may be made twice.",
        &[
            "one_offset_is_one_file_for_all_its_writers_and_a_dead_ones_range_is_the_next_ones",
            "a_host_killed_at_any_step_of_an_open_leaves_one_file_to_the_next",
        ],
    ),
    (
        "When the host dies",
        &[
            "whoever_has_a_file_open_goes_on_without_a_host",
            "a_caller_in_the_middle_of_a_call_is_told_that_the_host_died",
            "the_next_host_knows_every_file",
            "a_file_that_has_no_room_for_the_next_host_is_not_made_a_second_time",
            "a_host_killed_at_any_step_of_letting_go_of_a_file_leaves_it_to_the_next",
        ],
    ),
    (
        "When a caller dies",
        &[
            "callers_that_are_killed_in_the_middle_leave_the_host_to_the_others",
            "a_caller_killed_at_any_step_of_a_call_is_nothing_to_the_host",
            "a_hostile_caller_is_answered_or_dropped_and_the_host_goes_on",
        ],
    ),
    (
        "A file is there until it was read",
        &[
            "a_file_goes_from_its_writer_to_its_readers_and_is_gone",
            "an_empty_file_waits_for_somebody_who_sees_its_end",
            "a_sparse_file_is_at_its_end_when_its_last_part_is",
            "a_file_whose_writer_died_before_it_came_is_told_to_its_readers_and_forgotten",
            "sparse_writers_write_one_file_and_its_hole",
        ],
    ),
    ("Names are any bytes", &["names_of_any_bytes_are_kept_apart", "what_cannot_be_had_is_said_by_name"]),
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

/// The text without what stands before each line.
fn flush_left(text: &str) -> String {
    text.lines().map(|line| line.trim_start_matches(['/', '!', ' ']).to_owned() + "\n").collect()
}

#[test]
fn each_promise_has_its_tests() {
    let tests: String = files(&root().join("tests"), ".rs").iter().map(|path| flush_left(&read(path))).collect();
    for (page, heading, listed) in [
        ("README.md", "\n## ", PROMISES),
        ("src/blocks/mod.rs", "\n# ", OF_BLOCKS),
        ("src/session/mod.rs", "\n# ", OF_SESSIONS),
    ] {
        let text = flush_left(&read(&root().join(page)));
        let section = text.split(heading).find(|section| section.starts_with("What it promises")).unwrap();
        let promised: BTreeSet<&str> =
            section.lines().filter_map(|line| line.strip_prefix("* **")?.split("**").next()).collect();
        let tested: BTreeSet<&str> = listed.iter().map(|(promise, _)| *promise).collect();
        assert_eq!(promised, tested, "what {page} promises, and what is listed here");
        let bullets = section.lines().filter(|line| line.starts_with("* ")).count();
        assert_eq!(bullets, promised.len(), "{page}: a promise without a name in bold");
        for (promise, names) in listed {
            for name in *names {
                assert!(tests.contains(&format!("#[test]\nfn {name}()")), "{promise}: there is no test {name}");
            }
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

#[test]
fn each_test_that_the_reliability_page_names_is_there() {
    let sources = ["src", "tests"].map(|folder| files(&root().join(folder), ".rs"));
    let tests: String = sources.iter().flatten().map(|path| read(path)).collect();
    let page = read(&root().join("docs/reliability.md"));
    let table = page.split("\n## ").next().unwrap();
    let names = table.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 1);
    let mut count = 0;
    for name in names {
        count += 1;
        assert!(tests.contains(&format!("fn {name}()")), "docs/reliability.md: there is no test {name}");
    }
    assert!(count > 30, "{count} tests are named");
}
