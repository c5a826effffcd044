use super::*; use crate::model::*; use std::sync::Arc;
#[derive(Clone,PartialEq)] pub struct Environment; impl Environment { pub fn today(&self)->Date{todo!()} }
pub struct Benefit{pub id:String}
pub struct Policy{pub registers:Vec<Register>,pub kin_register:u16,pub slots:usize,pub person:PersonKind,pub benefits:Vec<Benefit>}
impl Policy{ pub fn environment(&self,_:Date,_:&[FeedState])->Environment{todo!()} pub fn next_boundary(&self,_:Date)->Date{todo!()} pub fn guardian_register(&self)->u16{0}}
pub struct Evaluator; impl Evaluator{ pub fn new(_:Arc<Policy>)->Self{Evaluator} pub fn composition(&mut self,_:&Environment,_:PersonId,_:&[u8])->(Composition,Date){todo!()} pub fn kin(&mut self,_:&Environment,_:PersonId,_:&[u8])->(Option<&[i64]>,Date){todo!()}
pub fn person_values(&mut self,_:&Environment,_:PersonId,_:&[u8],_:Role)->(&[i64],Date){todo!()}
pub fn contribution(&mut self,_:&Environment,_:PersonId,_:&[u8],_:Role,_:&mut Contribution)->Date{todo!()} pub fn judge(&mut self,_:&Environment,_:&Row,_:HouseholdKey,_:&mut Judgement){todo!()}}
impl Register{pub fn expired(&self,_:&file::Record<'_>,_:Date,_:&mut [i64])->bool{todo!()}}
