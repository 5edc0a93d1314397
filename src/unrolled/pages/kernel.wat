;; y = bias + W x in float32, sixteen rows at a time. Knows nothing about models.
;;
;; W lies in memory as blocks of sixteen rows (the last one filled up with zero rows), each block column after column,
;; so that the weights are read once, in order, and no sum has to be taken across lanes. Pointers count bytes and are
;; multiples of 4; x and y are at least one column and one block long. Built by scripts/build_kernel.sh.
(module
  (memory (export "memory") 1)
  (func (export "matvec")
    (param $weight i32) (param $bias i32) (param $x i32) (param $x_end i32) (param $y i32) (param $y_end i32)
    (local $column i32) (local $x_j v128)
    (local $sum0 v128) (local $sum1 v128) (local $sum2 v128) (local $sum3 v128)
    (loop $block
      (local.set $sum0 (v128.load (local.get $bias)))
      (local.set $sum1 (v128.load offset=16 (local.get $bias)))
      (local.set $sum2 (v128.load offset=32 (local.get $bias)))
      (local.set $sum3 (v128.load offset=48 (local.get $bias)))
      (local.set $bias (i32.add (local.get $bias) (i32.const 64)))
      (local.set $column (local.get $x))
      (loop $columns
        (local.set $x_j (v128.load32_splat (local.get $column)))
        (local.set $sum0 (f32x4.add (local.get $sum0)
          (f32x4.mul (local.get $x_j) (v128.load (local.get $weight)))))
        (local.set $sum1 (f32x4.add (local.get $sum1)
          (f32x4.mul (local.get $x_j) (v128.load offset=16 (local.get $weight)))))
        (local.set $sum2 (f32x4.add (local.get $sum2)
          (f32x4.mul (local.get $x_j) (v128.load offset=32 (local.get $weight)))))
        (local.set $sum3 (f32x4.add (local.get $sum3)
          (f32x4.mul (local.get $x_j) (v128.load offset=48 (local.get $weight)))))
        (local.set $weight (i32.add (local.get $weight) (i32.const 64)))
        (local.set $column (i32.add (local.get $column) (i32.const 4)))
        (br_if $columns (i32.lt_u (local.get $column) (local.get $x_end))))
      (v128.store (local.get $y) (local.get $sum0))
      (v128.store offset=16 (local.get $y) (local.get $sum1))
      (v128.store offset=32 (local.get $y) (local.get $sum2))
      (v128.store offset=48 (local.get $y) (local.get $sum3))
      (local.set $y (i32.add (local.get $y) (i32.const 64)))
      (br_if $block (i32.lt_u (local.get $y) (local.get $y_end))))))
