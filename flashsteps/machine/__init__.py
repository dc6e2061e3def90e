"""What an algorithm runs on: HBM and SRAM, arrays with and without numbers, masks, heads, pages, number types, GPUs."""
