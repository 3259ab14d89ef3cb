"""Faults that are known and not mended: each row names tests that fail today, and why. A fix removes its rows.

A key is `file::test` for all cases of a test, or `file::test[case]`. The tests are marked xfail, strictly: one that
passes is a failure until its row has been removed.
"""

from __future__ import annotations

BY_CAUSE: dict[str, list[str]] = {
    "steps take names that differ in case for two entries": [
        "test_changes_seen.py::test_a_case_only_rename_is_restored",
    ],
    "an open that fails is taken for a name that vanished": [
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words0-EINVAL]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words0-ELOOP]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words0-ENOENT]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words0-ENOTDIR]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words0-ENXIO]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words0-ESTALE]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words1-EINVAL]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words1-ELOOP]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words1-ENOENT]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words1-ENOTDIR]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words1-ENXIO]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words1-ESTALE]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words2-EINVAL]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words2-ELOOP]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words2-ENOENT]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words2-ENOTDIR]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words2-ENXIO]",
        "test_changes_seen.py::test_a_file_that_cannot_be_opened_is_never_left_out_in_silence[words2-ESTALE]",
        "test_changes_seen.py::test_a_file_that_could_be_opened_before_is_not_called_removed",
    ],
    "owner, times, trusted attributes and link groups are not in the tree, nor compared": [
        "test_changes_seen.py::test_a_link_is_not_made_to_a_file_with_other_metadata",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[broken_link_group]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[chown]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[chown_directory]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[chown_link]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[chown_top]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[touch]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[touch_by_a_nanosecond]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[touch_directory]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[touch_link]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[trusted]",
        "test_changes_seen.py::test_a_restore_puts_metadata_right_and_undo_brings_it_back[trusted_of_a_directory]",
        "test_changes_seen.py::test_diff_says_what_of_the_metadata_differs",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[broken_link_group]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[chown]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[chown_directory]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[chown_link]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[chown_top]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[touch]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[touch_by_a_nanosecond]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[touch_directory]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[touch_link]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[trusted]",
        "test_changes_seen.py::test_if_changed_sees_a_change_of_metadata[trusted_of_a_directory]",
        "test_changes_seen.py::test_metadata_alone_is_not_the_same_snapshot",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[broken_link_group]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[chown]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[chown_directory]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[chown_link]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[chown_top]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[touch]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[touch_by_a_nanosecond]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[touch_directory]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[touch_link]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[trusted]",
        "test_changes_seen.py::test_status_sees_a_change_of_metadata[trusted_of_a_directory]",
    ],
    "a name that changed its kind since the listing is left out": [
        "test_changes_seen.py::test_a_name_that_changes_its_kind_during_the_walk_is_not_left_out",
        "test_changes_seen.py::test_two_names_that_trade_places_all_the_time_are_both_in_every_snapshot",
    ],
    "rolling forward copies from the payload without comparing digests": [
        "test_changes_seen.py::test_a_restore_rolled_forward_does_not_copy_rotten_bytes",
    ],
    "a name of a link group is reused by mode and size, its content unread": [
        "test_changes_seen.py::test_a_restored_name_never_gets_the_content_of_another_file[a-same]",
        "test_changes_seen.py::test_a_restored_name_never_gets_the_content_of_another_file[d-same]",
        "test_changes_seen.py::test_a_restored_name_never_gets_the_content_of_another_file[d/linked-same]",
    ],
    "stamps are kept on filesystems where a store through a mapping moves no ctime": [
        "test_changes_seen.py::test_a_store_through_a_mapping_is_seen[overlay on tmpfs]",
        "test_changes_seen.py::test_a_store_through_a_mapping_is_seen[overlay over tmpfs]",
        "test_changes_seen.py::test_a_store_through_a_mapping_is_seen[ramfs]",
    ],
    "stamps are kept where the ctime is the mtime": [
        "test_changes_seen.py::test_where_ctime_follows_mtime_a_change_of_the_same_size_is_seen",
    ],
    "special files are reached through /proc/self/fd, and ENOENT there is taken for vanished": [
        "test_changes_seen.py::test_without_proc_nothing_is_left_out_in_silence",
    ],
    "a collection makes new files before it frees any": [
        "test_isolation.py::test_a_collection_on_a_full_xfs[parent pointers]",
        "test_isolation.py::test_a_collection_without_free_inodes",
    ],
    "a directory that cannot be renamed (EXDEV) is not copied, and is not said before": [
        "test_isolation.py::test_a_directory_of_the_lower_layer_is_displaced",
        "test_isolation.py::test_a_repository_in_a_lower_layer",
    ],
    "mounts below what is moved or removed are looked for only at a snapshot": [
        "test_isolation.py::test_pruning_never_crosses_a_mount",
    ],
    "one record that cannot be read stops every command, and is not put into quarantine": [
        "test_isolation.py::test_doctor_quarantines_any_single_record[intent-directory]",
    ],
    "inode numbers decide what a dead undo did; a copy has others": [
        "test_undo_kept.py::test_a_copy_of_a_repository_with_a_pending_redo_recovers",
        "test_undo_kept.py::test_a_copy_of_a_repository_with_a_pending_undo_recovers",
    ],
    "undo keeps all that was displaced, and pins the snapshots that it needs": [
        "test_undo_kept.py::test_a_thousand_restores_between_snapshots_leave_next_to_nothing",
        "test_undo_kept.py::test_undo_works_after_a_collection_took_the_snapshot_that_held_it",
        "test_undo_kept.py::test_what_a_visible_snapshot_holds_is_not_kept_twice",
    ],
}

KNOWN_FAULTS = {key: cause for cause, keys in BY_CAUSE.items() for key in keys}
