"""What moves at every size: reports, footprints, the published closed forms, tiles that fit on a GPU."""
